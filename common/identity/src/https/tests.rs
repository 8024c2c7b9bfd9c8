use super::HttpsAcceptor;
use futures::StreamExt;
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

const DEADLINE: Duration = Duration::from_secs(30);

/// What server and client agreed on, `Err` when they did not.
async fn agreed(offered: &[&[u8]]) -> Result<Option<Vec<u8>>, String> {
    let key = rcgen::KeyPair::generate().unwrap();
    let params = rcgen::CertificateParams::new(vec!["webhook.test".to_owned()]).unwrap();
    let cert = params.self_signed(&key).unwrap();
    let acceptor = HttpsAcceptor::new(&cert.pem(), &key.serialize_pem(), DEADLINE).unwrap();

    let mut roots = RootCertStore::empty();
    roots.add(cert.der().clone()).unwrap();
    let provider = crate::provider::provider().clone();
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = offered.iter().map(|name| name.to_vec()).collect();

    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (server, _) = listener.accept().await.unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let name = "webhook.test".try_into().unwrap();
    let mut accepted = std::pin::pin!(acceptor.accepted(futures::stream::iter([server])));
    let (client, server) = tokio::join!(connector.connect(name, client), accepted.next());
    let client = client.map_err(|error| error.to_string())?;
    let server = server.unwrap().unwrap();
    let protocol = |name: Option<&[u8]>| name.map(<[u8]>::to_vec);
    let chosen = protocol(server.get_ref().1.alpn_protocol());
    assert_eq!(chosen, protocol(client.get_ref().1.alpn_protocol()));
    assert!(accepted.next().await.is_none());
    Ok(chosen)
}

#[tokio::test]
async fn clients_of_either_version_of_http_are_served() {
    let chosen = async |offered| agreed(offered).await.unwrap();
    assert_eq!(chosen(&[b"http/1.1"]).await.unwrap(), b"http/1.1");
    assert_eq!(chosen(&[b"h2"]).await.unwrap(), b"h2");
    assert_eq!(chosen(&[b"http/1.1", b"h2"]).await.unwrap(), b"h2");
    assert_eq!(chosen(&[]).await, None);
}

#[tokio::test]
async fn other_protocols_are_refused_and_the_stream_goes_on() {
    let refused = agreed(&[b"imap"]).await.unwrap_err();
    assert!(refused.contains("NoApplicationProtocol"), "{refused}");
}

#[test]
fn what_is_no_certificate_is_refused() {
    let error = HttpsAcceptor::new("", "", DEADLINE).unwrap_err();
    assert_eq!(error.to_string(), "certificate or key is not PEM");
}
