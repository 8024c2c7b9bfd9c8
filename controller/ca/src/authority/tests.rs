//! What is signed, read back with another parser.

use super::*;
use crate::csr;
use rcgen::{CertificateRevocationListParams, KeyIdMethod, PKCS_ECDSA_P256_SHA256};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use x509_parser::extensions::GeneralName;
use x509_parser::pem::Pem;

const NOW: u64 = 1_800_000_000;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

fn open(dir: &Path, now: u64) -> Authority {
    try_open(dir, now).unwrap()
}

fn try_open(dir: &Path, now: u64) -> Result<Authority, OpenError> {
    Authority::open(dir, &SelfSigned::of("cluster.local"), &terms(now))
}

fn terms(now: u64) -> Terms<'static> {
    Terms {
        trust_domain: "cluster.local",
        lifetimes: Lifetimes::default(),
        now: at(now),
    }
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

/// A root, and an authority below it.
struct TwoLevels {
    root: super::Pem,
    key: KeyPair,
    intermediate: String,
}

impl TwoLevels {
    fn new(change: impl FnOnce(&mut CertificateParams)) -> Self {
        let root = super::Pem::self_signed(&SelfSigned::of("cluster.local"), at(NOW)).unwrap();
        let root_key = KeyPair::from_pem(&root.ca_key).unwrap();
        let issuer = Issuer::from_ca_cert_pem(&root.ca_cert, root_key).unwrap();
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut params = CertificateParams::default();
        set_validity(&mut params, at(NOW), at(NOW + 7200));
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
        change(&mut params);
        let intermediate = params.signed_by(&key, &issuer).unwrap().pem();
        Self {
            root,
            key,
            intermediate,
        }
    }

    fn pem(&self) -> super::Pem {
        super::Pem {
            ca_cert: self.intermediate.clone(),
            ca_key: self.key.serialize_pem(),
            cert_chain: self.intermediate.clone() + &self.root.ca_cert,
            root_cert: self.root.ca_cert.clone(),
            crl: String::new(),
        }
    }

    /// A list of the root, without anything on it, that lasts until then.
    fn list(&self, until: u64) -> String {
        let key = KeyPair::from_pem(&self.root.ca_key).unwrap();
        let issuer = Issuer::from_ca_cert_pem(&self.root.ca_cert, key).unwrap();
        let moment = |seconds| rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
        let params = CertificateRevocationListParams {
            this_update: moment(NOW),
            next_update: moment(until),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&issuer).unwrap().pem().unwrap()
    }
}

#[test]
fn revocation_lists_are_a_part_of_the_set_and_refused_with_it() {
    let (two, other) = (TwoLevels::new(|_| {}), TwoLevels::new(|_| {}));
    let with = |crl: &str| super::Pem {
        crl: crl.to_owned(),
        ..two.pem()
    };
    assert_eq!(from_pem(&two.pem(), NOW).unwrap().crl(), "");
    let list = two.list(NOW + 3600);
    assert_eq!(from_pem(&with(&list), NOW).unwrap().crl(), list.trim());
    for (wrong, why) in [
        ("no list", "no revocation list"),
        (&*other.list(NOW + 3600), "signed by no certificate"),
    ] {
        let text = from_pem(&with(wrong), NOW).err().unwrap().to_string();
        assert!(text.contains("ca-crl.pem") && text.contains(why), "{text}");
    }
    let old = with(&two.list(NOW + 60));
    let late = from_pem(&old, NOW + 61).err().unwrap();
    assert!(matches!(late, OpenError::Outdated { .. }), "{late}");
    let first = Authority::with_old_lists(Path::new("cacerts"), &old, &terms(NOW + 61));
    assert_eq!(first.unwrap().crl(), old.crl.trim());
}

fn from_pem(pem: &super::Pem, now: u64) -> Result<Authority, OpenError> {
    Authority::from_pem(Path::new("cacerts"), pem, &terms(now))
}

#[test]
fn plugged_certificates_give_leaf_intermediate_root() {
    let two = TwoLevels::new(|_| {});
    let dir = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    let pem = two.pem();
    put("tls.key", &pem.ca_key);
    put("tls.crt", &pem.cert_chain);
    put("ca.crt", &pem.root_cert);
    let other_names = open(dir.path(), NOW);
    // As a kubelet mounts a Secret; the names of Istio come first.
    fs::create_dir(dir.path().join("..one")).unwrap();
    std::os::unix::fs::symlink("..one", dir.path().join("..data")).unwrap();
    put("..one/ca-key.pem", &pem.ca_key);
    put("..one/ca-cert.pem", &pem.ca_cert);
    put("..one/cert-chain.pem", &pem.cert_chain);
    put("..one/root-cert.pem", &pem.root_cert);
    for ca in [open(dir.path(), NOW), other_names] {
        let id = SpiffeId::new("cluster.local", "default", "web");
        let key = csr::public_key(&request(&[])).unwrap();
        let signed = ca.sign(&id, &key, Duration::ZERO, at(NOW)).unwrap();
        assert_eq!(signed.chain.len(), 3);
        assert_eq!(signed.chain[2], pem.root_cert);
        assert_eq!(signed.not_after, at(NOW + 7200));
        let (leaf, above) = (parse(&signed.chain[0]), parse(&signed.chain[1]));
        let above = above.parse_x509().unwrap();
        leaf.parse_x509()
            .unwrap()
            .verify_signature(Some(above.public_key()))
            .unwrap();
    }
}

#[test]
fn a_set_that_peers_would_not_believe_is_refused_by_name() {
    let good = TwoLevels::new(|_| {}).pem();
    assert!(from_pem(&good, NOW).is_ok());
    let another = TwoLevels::new(|_| {}).pem();
    let with = |change: &dyn Fn(&mut super::Pem)| {
        let mut pem = good.clone();
        change(&mut pem);
        pem
    };
    let of = |change: fn(&mut CertificateParams)| TwoLevels::new(change).pem();
    for (what, pem, now, part, reason) in [
        (
            "a key of somebody else",
            with(&|p| p.ca_key.clone_from(&another.ca_key)),
            NOW,
            "ca-cert.pem",
            "not its own",
        ),
        (
            "a root that did not sign it",
            with(&|p| p.root_cert.clone_from(&another.root_cert)),
            NOW,
            "root-cert.pem",
            "no root in it signs",
        ),
        (
            "half a file",
            with(&|p| p.root_cert.truncate(200)),
            NOW,
            "root-cert.pem",
            "",
        ),
        (
            "no certificate",
            with(&|p| p.ca_cert.clear()),
            NOW,
            "ca-cert.pem",
            "no certificate",
        ),
        ("over", good.clone(), NOW + 7200, "ca-cert.pem", "expired"),
        (
            "to come",
            good.clone(),
            NOW - 60,
            "root-cert.pem",
            "NotValidYet",
        ),
        (
            "a leaf",
            of(|p| p.is_ca = rcgen::IsCa::ExplicitNoCa),
            NOW,
            "ca-cert.pem",
            "not a certificate authority's",
        ),
        (
            "another trust domain",
            of(|p| {
                let uri = "spiffe://other.example".try_into().unwrap();
                p.subject_alt_names = vec![SanType::URI(uri)];
            }),
            NOW,
            "ca-cert.pem",
            "other.example",
        ),
    ] {
        match from_pem(&pem, now).map(|_| ()) {
            Err(OpenError::Content { path, what: said }) => {
                assert!(path.ends_with(part), "{what}: {path:?} {said}");
                assert!(said.contains(reason), "{what}: {said}");
            }
            other => panic!("{what}: {other:?}"),
        }
    }
    let ours = of(|p| {
        let uri = "spiffe://cluster.local".try_into().unwrap();
        p.subject_alt_names = vec![SanType::URI(uri)];
    });
    assert!(from_pem(&ours, NOW).is_ok());
}

#[test]
fn the_root_that_signs_comes_first_and_others_are_sent_along() {
    let (old, new) = (TwoLevels::new(|_| {}).pem(), TwoLevels::new(|_| {}).pem());
    let mut both = new.clone();
    both.root_cert = old.root_cert.clone() + &new.root_cert;
    let ca = from_pem(&both, NOW).unwrap();
    assert_eq!(ca.roots_pem(), new.root_cert.clone() + &old.root_cert);
    let alone = from_pem(&new, NOW).unwrap();
    let published = from_pem(&old, NOW).unwrap().roots().clone();
    let sent = alone.publishing(&published);
    assert_eq!(
        sent.roots_pem(),
        old.root_cert + &new.root_cert,
        "what signs is always sent along"
    );
}

#[test]
fn what_is_published_is_remembered_with_its_time() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(read_published(dir.path()).unwrap(), None);
    let roots = open(dir.path(), NOW).roots().clone();
    let before = SystemTime::now() - Duration::from_secs(1);
    publish(dir.path(), &roots).unwrap();
    let there = read_published(dir.path()).unwrap().unwrap();
    assert_eq!(there.roots, roots);
    assert!(there.since > before);
    fs::write(published_file(dir.path()), "no").unwrap();
    assert!(read_published(dir.path()).is_err());
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
