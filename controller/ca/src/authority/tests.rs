//! What is signed, read back with another parser.

use super::*;
use crate::csr;
use rcgen::PKCS_ECDSA_P256_SHA256;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;

const NOW: u64 = 1_800_000_000;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn open(dir: &Path, now: u64) -> Authority {
    Authority::open(dir, "cluster.local", Lifetimes::default(), at(now)).unwrap()
}

fn request(sans: &[&str]) -> String {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let mut params = CertificateParams::default();
    params.subject_alt_names = sans
        .iter()
        .map(|s| SanType::URI((*s).try_into().unwrap()))
        .collect();
    params.serialize_request(&key).unwrap().pem().unwrap()
}

fn parse(pem: &str) -> Pem {
    Pem::iter_from_buffer(pem.as_bytes())
        .next()
        .unwrap()
        .unwrap()
}

#[test]
fn a_leaf_names_the_permitted_identity_and_not_what_the_request_asks_for() {
    let dir = tempfile::tempdir().unwrap();
    let ca = open(dir.path(), NOW);
    let id = SpiffeId::new("cluster.local", "default", "web");
    let key = csr::public_key(&request(&[
        "spiffe://cluster.local/ns/kube-system/sa/admin",
    ]))
    .unwrap();
    let signed = ca.sign(&id, &key, Duration::ZERO, at(NOW)).unwrap();
    let (leaf, root) = (parse(&signed.chain[0]), parse(ca.roots_pem()));
    let (leaf, root) = (leaf.parse_x509().unwrap(), root.parse_x509().unwrap());
    leaf.verify_signature(Some(root.public_key())).unwrap();
    let san = leaf.subject_alternative_name().unwrap().unwrap();
    assert!(san.critical);
    assert_eq!(
        san.value.general_names,
        [GeneralName::URI("spiffe://cluster.local/ns/default/sa/web")]
    );
    let usage = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && usage.server_auth && !leaf.is_ca());
    assert_eq!(leaf.validity().not_before.timestamp(), NOW as i64 - 120);
    assert_eq!(
        leaf.validity().not_after.timestamp(),
        NOW as i64 + 24 * 3600
    );
    assert_eq!(signed.chain.len(), 2);
    assert_eq!(signed.chain[1], ca.roots_pem());
}

#[test]
fn lifetimes_are_clamped_to_the_maximum_and_to_the_root() {
    let dir = tempfile::tempdir().unwrap();
    let ca = open(dir.path(), NOW);
    let id = SpiffeId::new("cluster.local", "default", "web");
    let key = csr::public_key(&request(&[])).unwrap();
    let days = |n: u64| Duration::from_secs(n * 24 * 3600);
    let end = |asked, now| ca.sign(&id, &key, asked, now).unwrap().not_after;
    assert_eq!(end(days(1) / 24, at(NOW)), at(NOW) + days(1) / 24);
    assert_eq!(end(days(1000), at(NOW)), at(NOW) + days(90));
    let root_end = at(NOW) + days(3650);
    assert_eq!(end(days(80), root_end - days(1)), root_end);
    assert!(matches!(
        ca.sign(&id, &key, days(1), root_end),
        Err(SignError::Expired)
    ));
}

#[test]
fn the_root_is_kept_and_renewed_with_the_same_key() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path(), NOW).roots_pem().to_owned();
    let key = fs::read(dir.path().join("root-key.pem")).unwrap();
    let mode = fs::metadata(dir.path().join("root-key.pem"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(open(dir.path(), NOW + 3600).roots_pem(), first);
    let later = open(dir.path(), NOW + 9 * 365 * 24 * 3600);
    assert_ne!(later.roots_pem(), first);
    assert_eq!(fs::read(dir.path().join("root-key.pem")).unwrap(), key);
    let (old, new) = (parse(&first), parse(later.roots_pem()));
    let (old, new) = (old.parse_x509().unwrap(), new.parse_x509().unwrap());
    assert_eq!(old.public_key().raw, new.public_key().raw);
}

#[test]
fn plugged_certificates_give_leaf_intermediate_root() {
    let source = tempfile::tempdir().unwrap();
    open(source.path(), NOW);
    let read = |name: &str| fs::read_to_string(source.path().join(name)).unwrap();
    let root_key = KeyPair::from_pem(&read("root-key.pem")).unwrap();
    let root = Issuer::from_ca_cert_pem(&read("root-cert.pem"), root_key).unwrap();
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
    let mut params = CertificateParams::default();
    set_validity(&mut params, at(NOW), at(NOW + 7200));
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    let intermediate = params.signed_by(&key, &root).unwrap().pem();

    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: String| fs::write(dir.path().join(name), text).unwrap();
    put("ca-key.pem", key.serialize_pem());
    put("ca-cert.pem", intermediate.clone());
    put("cert-chain.pem", intermediate + &read("root-cert.pem"));
    put("root-cert.pem", read("root-cert.pem"));
    let ca = open(dir.path(), NOW);
    let id = SpiffeId::new("cluster.local", "default", "web");
    let key = csr::public_key(&request(&[])).unwrap();
    let signed = ca.sign(&id, &key, Duration::ZERO, at(NOW)).unwrap();
    assert_eq!(signed.chain.len(), 3);
    assert_eq!(signed.not_after, at(NOW + 7200));
    let (leaf, above) = (parse(&signed.chain[0]), parse(&signed.chain[1]));
    let above = above.parse_x509().unwrap();
    leaf.parse_x509()
        .unwrap()
        .verify_signature(Some(above.public_key()))
        .unwrap();

    put("ca-key.pem", KeyPair::generate().unwrap().serialize_pem());
    let other = Authority::open(dir.path(), "cluster.local", Lifetimes::default(), at(NOW));
    assert!(matches!(other, Err(OpenError::Content { .. })));
}

#[test]
fn the_server_certificate_has_our_names() {
    let dir = tempfile::tempdir().unwrap();
    let ca = open(dir.path(), NOW);
    let names = ["istiod.istio-system.svc".to_owned(), "localhost".to_owned()];
    let made = ca
        .server_certificate(&names, &["127.0.0.1".parse().unwrap()], at(NOW))
        .unwrap();
    let pem = parse(&made.chain);
    let cert = pem.parse_x509().unwrap();
    let san = cert.subject_alternative_name().unwrap().unwrap();
    assert_eq!(
        san.value.general_names,
        [
            GeneralName::DNSName("istiod.istio-system.svc"),
            GeneralName::DNSName("localhost"),
            GeneralName::IPAddress(&[127, 0, 0, 1]),
        ]
    );
}

#[test]
fn requests_that_prove_nothing_are_refused() {
    let good = request(&[]);
    let mut lines: Vec<&str> = good.lines().collect();
    let body = lines[2].replace(|c: char| c.is_ascii_lowercase(), "A");
    lines[2] = &body;
    for bad in ["", "hello", &lines.join("\n"), &"x".repeat(100_000)] {
        assert!(csr::public_key(bad).is_err(), "{bad:.60}");
    }
}
