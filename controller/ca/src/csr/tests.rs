//! Requests that ask for more than they may.

use super::*;
use rcgen::string::Ia5String;
use rcgen::{
    CertificateParams, CustomExtension, DistinguishedName, DnType, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, SanType,
};

const OWN: &str = "spiffe://cluster.local/ns/shop/sa/web";

fn uri(text: &str) -> SanType {
    SanType::URI(Ia5String::try_from(text).unwrap())
}

fn plain(names: &[SanType]) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = names.to_vec();
    params
}

fn judged(params: &CertificateParams) -> Result<Checked, String> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let pem = params.serialize_request(&key).unwrap().pem().unwrap();
    let checked = only_for(&pem, &OWN.parse().unwrap()).map_err(|error| match error {
        CsrError::Names { what, .. } => what,
        error => error.to_string(),
    })?;
    assert_eq!(checked.key, key.subject_public_key_info());
    Ok(checked)
}

#[test]
fn the_permitted_identity_alone_is_taken_and_written_anew() {
    let checked = judged(&plain(&[uri(OWN)])).unwrap();
    assert!(
        checked
            .pem
            .starts_with("-----BEGIN CERTIFICATE REQUEST-----\n")
    );
    assert_eq!(
        public_key(&checked.pem).unwrap().subject_public_key_info(),
        checked.key
    );
    // What stands before and behind the block goes.
    let framed = format!("Subject: x\n{}more\n{}", checked.pem, checked.pem);
    let again = only_for(&framed, &OWN.parse().unwrap()).unwrap();
    assert_eq!(again.pem, checked.pem);
    // As agents of Istio write it.
    let mut empty = plain(&[uri(OWN)]);
    empty.distinguished_name.push(DnType::OrganizationName, "");
    judged(&empty).unwrap();
}

#[test]
fn whatever_else_it_asks_for_is_named() {
    let other = "spiffe://cluster.local/ns/kube-system/sa/admin";
    let name = SanType::DnsName(Ia5String::try_from("istiod.istio-system.svc").unwrap());
    for (names, what) in [
        (vec![], "no name"),
        (
            vec![uri(other)],
            "the name URI(spiffe://cluster.local/ns/kube-system/sa/admin)",
        ),
        (vec![uri(OWN), uri(other)], "2 names"),
        (vec![uri(OWN), name.clone()], "2 names"),
        (vec![name], "the name DNSName(istiod.istio-system.svc)"),
    ] {
        assert_eq!(judged(&plain(&names)).unwrap_err(), what);
    }
    let mut subject = plain(&[uri(OWN)]);
    subject
        .distinguished_name
        .push(DnType::CommonName, "system:admin");
    assert_eq!(
        judged(&subject).unwrap_err(),
        "the subject `CN=system:admin`"
    );
    let mut usage = plain(&[uri(OWN)]);
    usage.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    assert_eq!(judged(&usage).unwrap_err(), "the extension 2.5.29.15");
    let mut custom = plain(&[uri(OWN)]);
    let extension = CustomExtension::from_oid_content(&[1, 2, 3, 4], vec![5, 0]);
    custom.custom_extensions = vec![extension];
    assert!(judged(&custom).unwrap_err().contains("cannot be read"));
}
