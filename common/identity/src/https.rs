//! TLS for a server whose clients have no certificate and choose between HTTP/1.1 and HTTP/2.
//! In: accepted connections. Out: those whose handshake was done in time. The API server asks webhooks
//! with ALPN `http/1.1` alone, so a server that knows `h2` only is never asked.
//! Must not happen here: an identity derived from such a connection.

use crate::provider::provider;
use futures::{Stream, StreamExt};
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Handshakes at a time; who comes then waits.
const HANDSHAKES: usize = 1024;

/// Why a certificate cannot be served with.
#[derive(Debug, Error)]
pub enum HttpsError {
    /// Chain or key is no PEM.
    #[error("certificate or key is not PEM")]
    Pem(#[source] pem::Error),
    /// They do not fit each other, or are of an unknown kind.
    #[error("certificate and key cannot be used")]
    Certificate(#[source] rustls::Error),
}

/// Does the server's half of handshakes. Cheap to clone.
#[derive(Clone)]
pub struct HttpsAcceptor {
    tls: TlsAcceptor,
    deadline: Duration,
}

impl std::fmt::Debug for HttpsAcceptor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HttpsAcceptor").finish_non_exhaustive()
    }
}

impl HttpsAcceptor {
    /// Serves with a chain and its key, both PEM; a handshake may take `deadline`.
    ///
    /// # Errors
    /// [`HttpsError`].
    pub fn new(chain: &str, key: &str, deadline: Duration) -> Result<Self, HttpsError> {
        let chain = CertificateDer::pem_slice_iter(chain.as_bytes());
        let chain: Vec<_> = chain.collect::<Result<_, _>>().map_err(HttpsError::Pem)?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(HttpsError::Pem)?;
        let mut config = ServerConfig::builder_with_provider(provider().clone())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("the provider has suites for TLS 1.3")
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .map_err(HttpsError::Certificate)?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self {
            tls: TlsAcceptor::from(Arc::new(config)),
            deadline,
        })
    }

    /// Connections as their handshakes end, in any order; those that fail or take too long are closed.
    /// Ends with `incoming`, once the last handshake has.
    pub fn accepted(
        self,
        incoming: impl Stream<Item = TcpStream> + Send,
    ) -> impl Stream<Item = io::Result<TlsStream<TcpStream>>> + Send {
        incoming
            .map(move |stream| {
                let handshake = timeout(self.deadline, self.tls.accept(stream));
                async move {
                    match handshake.await {
                        Ok(Ok(stream)) => Some(stream),
                        Ok(Err(error)) => {
                            tracing::debug!(%error, "TLS handshake failed");
                            None
                        }
                        Err(_) => {
                            tracing::debug!("TLS handshake took too long");
                            None
                        }
                    }
                }
            })
            .buffer_unordered(HANDSHAKES)
            .filter_map(|stream| async move { stream.map(Ok) })
    }
}

#[cfg(test)]
mod tests;
