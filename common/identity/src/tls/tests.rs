//! Real handshakes over an in-memory pair.

use super::*;
use crate::authority::{CaError, SignRequest};
use crate::in_process_ca::InProcessCa;
use crate::provider::provider;
use crate::{Authority, csr};
use futures::future::BoxFuture;
use rustls::ClientConfig;
use std::time::SystemTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

const HOUR: Duration = Duration::from_secs(3600);
const DEADLINE: Duration = Duration::from_secs(20);

fn id(trust_domain: &str, account: &str) -> SpiffeId {
    SpiffeId::new(trust_domain, "default", account)
}

fn expecting(ids: &[SpiffeId]) -> Arc<[SpiffeId]> {
    ids.into()
}

struct Handshake {
    client: Result<Secured<DuplexStream>, TlsError>,
    server: Result<Secured<DuplexStream>, TlsError>,
}

async fn handshake(client: &Svid, server: &Svid, expected: &[SpiffeId]) -> Handshake {
    let (a, b) = duplex(64 * 1024);
    let expected = expecting(expected);
    let (client, server) = tokio::join!(
        connect(a, client, &expected, DEADLINE),
        accept(b, server, DEADLINE)
    );
    Handshake { client, server }
}

#[tokio::test]
async fn both_sides_learn_the_peer_and_use_post_quantum_keys() {
    let ca = InProcessCa::new("mesh").unwrap();
    let a = ca.svid(&id("td", "a"), HOUR).await.unwrap();
    let b = ca.svid(&id("td", "b"), HOUR).await.unwrap();
    let others = [id("td", "zzz"), id("td", "b")];
    let done = handshake(&a, &b, &others).await;
    let (mut client, mut server) = (done.client.unwrap(), done.server.unwrap());
    assert_eq!(client.peer, id("td", "b"));
    assert_eq!(server.peer, id("td", "a"));
    assert_eq!(client.key_exchange, KeyExchange::PostQuantum);
    assert_eq!(server.key_exchange, KeyExchange::PostQuantum);
    client.stream.write_all(b"hello").await.unwrap();
    client.stream.flush().await.unwrap();
    let mut got = [0; 5];
    server.stream.read_exact(&mut got).await.unwrap();
    assert_eq!(&got, b"hello");
}

#[tokio::test]
async fn a_client_refuses_everybody_it_does_not_expect() {
    let ca = InProcessCa::new("mesh").unwrap();
    let a = ca.svid(&id("td", "a"), HOUR).await.unwrap();
    let b = ca.svid(&id("td", "b"), HOUR).await.unwrap();
    for expected in [
        vec![],
        vec![id("td", "a")],
        vec![id("other", "b"), id("td", "c")],
    ] {
        let done = handshake(&a, &b, &expected).await;
        match done.client.unwrap_err() {
            TlsError::Peer(VerifyError::NotExpected { got, .. }) => {
                assert_eq!(got, [id("td", "b")]);
            }
            other => panic!("{other:?}"),
        }
        let refused = done.server.unwrap_err();
        assert!(matches!(refused, TlsError::Refused { .. }), "{refused:?}");
    }
}

#[tokio::test]
async fn a_server_refuses_another_trust_domain_and_another_root() {
    let ca = InProcessCa::new("mesh").unwrap();
    let b = ca.svid(&id("td", "b"), HOUR).await.unwrap();

    let stranger = ca.svid(&id("other", "a"), HOUR).await.unwrap();
    let done = handshake(&stranger, &b, &[id("td", "b")]).await;
    let refused = done.server.unwrap_err();
    assert!(
        matches!(refused, TlsError::Peer(VerifyError::TrustDomain { .. })),
        "{refused:?}"
    );
    let mut client = done.client.unwrap();
    let failure = client.stream.failure();
    assert!(failure.get().is_none());
    client.stream.read(&mut [0; 8]).await.unwrap_err();
    let error = failure.get().unwrap();
    assert!(matches!(error, TlsError::Refused { .. }), "{error:?}");

    let foreign = InProcessCa::new("elsewhere").unwrap();
    let forged = foreign.svid(&id("td", "b"), HOUR).await.unwrap();
    let done = handshake(&b, &forged, &[id("td", "b")]).await;
    let refused = done.client.unwrap_err();
    assert!(
        matches!(refused, TlsError::Peer(VerifyError::Chain(_))),
        "{refused:?}"
    );
}

/// Signs for a time that is over.
struct Expired(InProcessCa);

impl Authority for Expired {
    fn sign(&self, request: SignRequest) -> BoxFuture<'_, Result<Vec<String>, CaError>> {
        let now = SystemTime::now();
        let reply = self.0.sign_between(&request, now - HOUR * 2, now - HOUR);
        Box::pin(std::future::ready(reply))
    }
}

#[tokio::test]
async fn an_expired_certificate_is_refused_on_both_sides() {
    let ca = Expired(InProcessCa::new("mesh").unwrap());
    let good = ca.0.svid(&id("td", "good"), HOUR).await.unwrap();
    let late = crate::authority::obtain(&ca, &id("td", "late"), HOUR)
        .await
        .unwrap();
    assert!(late.remaining(SystemTime::now()).is_none());
    let expired = |error: TlsError| match error {
        TlsError::Peer(VerifyError::Chain(webpki::Error::CertExpired { .. })) => {}
        other => panic!("{other:?}"),
    };
    let done = handshake(&good, &late, &[id("td", "late")]).await;
    expired(done.client.unwrap_err());
    let done = handshake(&late, &good, &[id("td", "good")]).await;
    expired(done.server.unwrap_err());
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let ca = InProcessCa::new("mesh").unwrap();
    let b = ca.svid(&id("td", "b"), HOUR).await.unwrap();
    let mut config = ClientConfig::builder_with_provider(provider().clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ExpectPeers {
            bundle: b.bundle().clone(),
            revoked: Arc::default(),
            expected: expecting(&[id("td", "b")]),
        }))
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN.to_vec()];
    let (x, y) = duplex(64 * 1024);
    let name = ServerName::IpAddress(std::net::Ipv4Addr::LOCALHOST.into());
    let client = TlsConnector::from(Arc::new(config)).connect(name, x);
    let (_, server) = tokio::join!(client, accept(y, &b, DEADLINE));
    let refused = server.unwrap_err();
    assert!(
        matches!(refused, TlsError::Peer(VerifyError::NoCertificate)),
        "{refused:?}"
    );
}

#[tokio::test]
async fn a_peer_without_h2_is_refused() {
    let ca = InProcessCa::new("mesh").unwrap();
    let a = ca.svid(&id("td", "a"), HOUR).await.unwrap();
    let b = ca.svid(&id("td", "b"), HOUR).await.unwrap();
    let mut config = (**b.server_config()).clone();
    config.alpn_protocols.clear();
    let (x, y) = duplex(64 * 1024);
    let expected = expecting(&[id("td", "b")]);
    let (client, _) = tokio::join!(
        connect(x, &a, &expected, DEADLINE),
        TlsAcceptor::from(Arc::new(config)).accept(y)
    );
    assert!(matches!(client, Err(TlsError::Alpn)));
}

#[tokio::test(start_paused = true)]
async fn a_stalled_handshake_ends_at_the_deadline_on_both_sides() {
    let ca = InProcessCa::new("mesh").unwrap();
    let a = ca.svid(&id("td", "a"), HOUR).await.unwrap();
    let (x, _silent) = duplex(64 * 1024);
    let (y, _mute) = duplex(64 * 1024);
    let client = connect(x, &a, &expecting(&[id("td", "b")]), DEADLINE).await;
    assert!(matches!(client, Err(TlsError::Timeout { after }) if after == DEADLINE));
    let server = accept(y, &a, DEADLINE).await;
    assert!(matches!(server, Err(TlsError::Timeout { .. })));
}

#[tokio::test]
async fn a_reply_for_another_key_is_refused() {
    let ca = InProcessCa::new("mesh").unwrap();
    let web = id("td", "web");
    let ours = csr::request(&web).unwrap();
    let theirs = csr::request(&web).unwrap();
    let reply = ca
        .sign(SignRequest {
            id: web.clone(),
            csr_pem: theirs.csr_pem,
            validity: HOUR,
        })
        .await
        .unwrap();
    let error = Svid::from_reply(&web, ours.key, &reply).unwrap_err();
    assert!(matches!(error, crate::svid::SvidError::Key(_)), "{error:?}");
    let error = Svid::from_reply(&web, theirs.key.clone_key(), &reply[..1]).unwrap_err();
    assert!(
        matches!(error, crate::svid::SvidError::Incomplete { entries: 1 }),
        "{error:?}"
    );
    Svid::from_reply(&web, theirs.key, &reply).unwrap();
}

#[tokio::test]
async fn hostile_replies_are_errors() {
    let web = id("td", "web");
    for reply in [
        vec![],
        vec![String::new()],
        vec![String::new(), String::new()],
        vec!["garbage".into(), "garbage".into()],
        vec![
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into(),
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".into(),
        ],
        vec!["-----BEGIN CERTIFICATE-----\n!!!".into(), String::new()],
    ] {
        let key = csr::request(&web).unwrap().key;
        assert!(Svid::from_reply(&web, key, &reply).is_err(), "{reply:?}");
    }
}
