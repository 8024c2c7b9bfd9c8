//! What signers return, good and bad.

use super::*;
use rcgen::string::Ia5String;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, PublicKeyData, SanType,
};

const OWN: &str = "spiffe://cluster.local/ns/shop/sa/web";

/// A root and one who signs for it.
struct Signer {
    root: String,
    above: String,
    issuer: Issuer<'static, KeyPair>,
}

fn authority(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params
}

impl Signer {
    fn new() -> Self {
        let (root_key, key) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let root = authority("root").self_signed(&root_key).unwrap();
        let issuer = Issuer::new(authority("root"), root_key);
        let above = authority("signer").signed_by(&key, &issuer).unwrap();
        Self {
            root: root.pem(),
            above: above.pem(),
            issuer: Issuer::new(authority("signer"), key),
        }
    }

    fn roots(&self) -> Roots {
        Roots::from_pem(&self.root).unwrap()
    }

    fn sign(&self, names: &[SanType], key: &KeyPair) -> String {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.subject_alt_names = names.to_vec();
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let leaf = params.signed_by(key, &self.issuer).unwrap().pem();
        format!("{leaf}{}{}", self.above, self.root)
    }
}

fn uri(text: &str) -> SanType {
    SanType::URI(Ia5String::try_from(text).unwrap())
}

fn dns(text: &str) -> SanType {
    SanType::DnsName(Ia5String::try_from(text).unwrap())
}

fn judged(
    pem: &str,
    names: Names<'_>,
    (key, roots): (&KeyPair, &Roots),
) -> Result<Proved, ProofError> {
    let key = key.subject_public_key_info();
    let asked = Asked { key: &key, names };
    prove(pem.as_bytes(), &asked, roots, SystemTime::now())
}

#[test]
fn a_chain_to_the_roots_is_handed_out_without_them() {
    let (signer, key) = (Signer::new(), KeyPair::generate().unwrap());
    let id: SpiffeId = OWN.parse().unwrap();
    let pem = signer.sign(&[uri(OWN)], &key);
    let proved = judged(&pem, Names::Identity(&id), (&key, &signer.roots())).unwrap();
    let der = |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).unwrap();
    assert_eq!(proved.chain.len(), 2);
    assert_eq!(der(&proved.chain[1]), der(&signer.above));
    assert!(proved.not_after > SystemTime::now());
    let names = ["a.svc", "b"].map(str::to_owned);
    let pem = signer.sign(&[dns("b"), dns("a.svc")], &key);
    judged(&pem, Names::Dns(&names), (&key, &signer.roots())).unwrap();
}

#[test]
fn another_key_another_name_and_another_root_are_not() {
    let (signer, key) = (Signer::new(), KeyPair::generate().unwrap());
    let (id, roots): (SpiffeId, _) = (OWN.parse().unwrap(), signer.roots());
    let own = Names::Identity(&id);
    let good = signer.sign(&[uri(OWN)], &key);
    let other = KeyPair::generate().unwrap();
    assert!(matches!(
        judged(&good, own, (&other, &roots)),
        Err(ProofError::Key)
    ));
    let admin = "spiffe://cluster.local/ns/kube-system/sa/admin";
    for names in [
        &[][..],
        &[uri(admin)],
        &[uri(OWN), uri(admin)],
        &[uri(OWN), dns("a")],
    ] {
        let pem = signer.sign(names, &key);
        let refused = judged(&pem, own, (&key, &roots));
        assert!(
            matches!(refused, Err(ProofError::Names { .. })),
            "{refused:?}"
        );
    }
    let elsewhere = Signer::new().roots();
    let refused = judged(&good, own, (&key, &elsewhere)).unwrap_err();
    assert!(
        refused
            .to_string()
            .contains("does not verify to the roots of the mesh (CN=root)"),
        "{refused}"
    );
    assert!(judged("", own, (&key, &roots)).is_err());
    let long = good.repeat(5);
    assert!(matches!(
        judged(&long, own, (&key, &roots)),
        Err(ProofError::Large { .. })
    ));
}
