//! Real handshakes between leaves of two intermediates of one root, with lists of either.

use super::*;
use crate::Svid;
use crate::tls::{TlsError, accept, connect};
use crate::verify::VerifyError;
use ambit_model::ids::SpiffeId;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
};
use rustls_pki_types::PrivateKeyDer;
use tokio::io::duplex;

struct Ca {
    issuer: Issuer<'static, KeyPair>,
    der: CertificateDer<'static>,
    serial: u64,
}

fn ca_params(name: &str, serial: u64) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.serial_number = Some(serial.into());
    params
}

fn root(name: &str) -> Ca {
    let key = KeyPair::generate().unwrap();
    let params = ca_params(name, 1);
    let der = params.self_signed(&key).unwrap().der().clone();
    Ca {
        issuer: Issuer::new(params, key),
        der,
        serial: 1,
    }
}

impl Ca {
    fn intermediate(&self, name: &str, serial: u64) -> Ca {
        let key = KeyPair::generate().unwrap();
        let params = ca_params(name, serial);
        let der = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        Ca {
            issuer: Issuer::new(params, key),
            der,
            serial,
        }
    }

    fn svid(&self, root: &Ca, account: &str, serial: u64) -> Svid {
        let id = SpiffeId::new("td", "default", account);
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.serial_number = Some(serial.into());
        params.subject_alt_names = vec![SanType::URI(id.to_string().try_into().unwrap())];
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        let bundle = TrustBundle::new(vec![root.der.clone()]).unwrap();
        let chain = vec![leaf.der().clone(), self.der.clone()];
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        Svid::new(&id, key, chain, Arc::new(bundle)).unwrap()
    }

    fn list(&self, serials: &[u64], lasts: Duration) -> String {
        let now = SystemTime::now();
        let revoked = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: now.into(),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: (now - Duration::from_secs(3600)).into(),
            next_update: (now - Duration::from_secs(60) + lasts).into(),
            crl_number: 1.into(),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(revoked).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

const HOUR: Duration = Duration::from_secs(3600);

fn with(svid: &Svid, pem: &str) -> (Svid, Arc<AtomicU64>) {
    let count = Arc::<AtomicU64>::default();
    let revoked = Revocations::from_pem(pem).unwrap().counting(count.clone());
    (svid.refusing(Arc::new(revoked)), count)
}

/// What a handshake came to for the client and for the server.
async fn handshake(client: &Svid, server: &Svid) -> [Result<PeerCertificates, TlsError>; 2] {
    let (a, b) = duplex(64 * 1024);
    let expected: Arc<[SpiffeId]> = [server.id().clone()].into();
    let (client, server) =
        tokio::join!(connect(a, client, &expected, HOUR), accept(b, server, HOUR));
    [
        client.map(|s| s.certificates),
        server.map(|s| s.certificates),
    ]
}

fn revoked(result: &Result<PeerCertificates, TlsError>) -> Option<&str> {
    match result {
        Err(TlsError::Peer(VerifyError::Revoked { serial })) => Some(serial),
        _ => None,
    }
}

#[tokio::test]
async fn a_revoked_leaf_is_refused_by_both_roles_and_its_siblings_are_not() {
    let root = root("root");
    let (one, two) = (root.intermediate("one", 2), root.intermediate("two", 3));
    let (bad, sibling) = (
        one.svid(&root, "bad", 0x51),
        one.svid(&root, "sibling", 0x52),
    );
    let good = two.svid(&root, "good", 0x51);
    let (judge, count) = with(&good, &one.list(&[0x51], HOUR));
    let [refused, _] = handshake(&judge, &bad).await;
    assert_eq!(revoked(&refused), Some("51"));
    let [_, refused] = handshake(&bad, &judge).await;
    assert_eq!(revoked(&refused), Some("51"));
    assert_eq!(count.load(Ordering::Relaxed), 2);
    for result in handshake(&judge, &sibling).await {
        result.unwrap();
    }
    // The same number of another issuer is another certificate.
    for result in handshake(&judge, &good).await {
        result.unwrap();
    }
    assert_eq!(count.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn an_intermediate_takes_all_of_its_leaves_along() {
    let root = root("root");
    let (one, two) = (root.intermediate("one", 2), root.intermediate("two", 3));
    let (bad, good) = (one.svid(&root, "bad", 0x51), two.svid(&root, "good", 0x52));
    let (judge, _) = with(&good, &root.list(&[one.serial], HOUR));
    let [refused, _] = handshake(&judge, &bad).await;
    assert_eq!(revoked(&refused), Some("02"));
    for result in handshake(&judge, &good).await {
        result.unwrap();
    }
}

#[tokio::test]
async fn a_list_of_another_authority_of_the_same_name_says_nothing() {
    let (root, other) = (root("root"), root("root"));
    let one = root.intermediate("one", 2);
    let (a, b) = (one.svid(&root, "a", 0x51), one.svid(&root, "b", 0x52));
    let lists = other.list(&[one.serial], HOUR) + &root.list(&[77], HOUR);
    let (judge, _) = with(&a, &lists);
    for result in handshake(&judge, &b).await {
        result.unwrap();
    }
    let lists = other.list(&[77], HOUR) + &root.list(&[one.serial], HOUR);
    let (judge, _) = with(&a, &lists);
    let [refused, _] = handshake(&judge, &b).await;
    assert_eq!(revoked(&refused), Some("02"));
}

#[tokio::test]
async fn what_a_peer_has_shown_is_asked_about_again() {
    let root = root("root");
    let one = root.intermediate("one", 2);
    let (a, b) = (one.svid(&root, "a", 0x51), one.svid(&root, "b", 0x52));
    let [_, shown] = handshake(&a, &b).await;
    let shown = shown.unwrap();
    let says = |pem: &str| Revocations::from_pem(pem).unwrap().revoked(&shown);
    assert_eq!(says(&one.list(&[0x51], HOUR)).as_deref(), Some("51"));
    assert_eq!(says(&root.list(&[2], HOUR)).as_deref(), Some("02"));
    assert_eq!(says(&one.list(&[0x52], HOUR)), None);
    assert_eq!(says(""), None);
}

#[test]
fn a_set_is_good_when_all_of_it_is_of_now_and_of_the_authority() {
    let (root, other) = (root("root"), root("root"));
    let one = root.intermediate("one", 2);
    let signers = [one.der.clone(), root.der.clone()];
    let prove = |pem: &str| Revocations::from_pem(pem)?.prove(&signers, SystemTime::now());
    prove("").unwrap();
    prove(&(one.list(&[7], HOUR) + &root.list(&[], HOUR))).unwrap();
    let late = prove(&root.list(&[7], Duration::ZERO));
    assert!(
        matches!(late, Err(RevocationError::Outdated { index: 0, .. })),
        "{late:?}"
    );
    let foreign = prove(&(root.list(&[], HOUR) + &other.list(&[7], HOUR)));
    assert!(
        matches!(foreign, Err(RevocationError::Signer { index: 1 })),
        "{foreign:?}"
    );
}

#[test]
fn what_is_no_list_is_refused() {
    let list = root("root").list(&[7], HOUR);
    assert!(matches!(
        Revocations::from_pem("no list"),
        Err(RevocationError::Empty)
    ));
    let cut = list.replacen("MI", "AA", 1);
    Revocations::from_pem(&cut).unwrap_err();
    let unended = &list[..list.len() / 2];
    Revocations::from_pem(unended).unwrap_err();
}
