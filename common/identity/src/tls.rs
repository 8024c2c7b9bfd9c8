//! Mutual TLS between proxies.
//! In: a byte stream, our [`Svid`], who the peer may be. Out: [`Secured`] with the peer's id.
//! TLS 1.3 only, ALPN `h2`, no SNI, no resumption (so no tickets are made or kept), post-quantum
//! key exchange preferred. Configurations are built once per certificate, not per handshake.
//! Must not happen here: a handshake without a deadline.

mod stream;
#[cfg(test)]
mod tests;

pub use stream::{SecureStream, TlsFailure};

use crate::revocation::PeerCertificates;
use crate::svid::Svid;
use crate::tls_config::ALPN;
use crate::verify::{self, ExpectPeers, VerifyError};
use ambit_model::ids::SpiffeId;
use rustls::{CertificateError, CommonState, NamedGroup};
use rustls_pki_types::{CertificateDer, ServerName};
use std::io;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};

/// Sealed bytes rustls may hold before a write stops: 16 records of 16 KiB per system call.
const SEALED_AHEAD: usize = 256 * 1024;

/// How long, and for how many bytes, a client whose identity was refused may take to hang up.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: usize = 64 * 1024;

/// An established connection.
#[derive(Debug)]
pub struct Secured<T> {
    /// The encrypted stream.
    pub stream: SecureStream<T>,
    /// The verified peer: the expected id it matched, or its first SPIFFE id.
    pub peer: SpiffeId,
    /// The certificates it has shown.
    pub certificates: PeerCertificates,
    /// What kind of key exchange protects it.
    pub key_exchange: KeyExchange,
}

/// Kind of key exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyExchange {
    /// Elliptic curves only.
    Classical,
    /// Hybrid with ML-KEM: recorded traffic stays secret from a quantum computer.
    PostQuantum,
}

/// Why there is no TLS connection.
#[derive(Debug, Error)]
pub enum TlsError {
    /// No end in time.
    #[error("TLS handshake not done after {after:?}")]
    Timeout {
        /// The deadline.
        after: Duration,
    },
    /// We refuse the peer's identity.
    #[error("the peer's identity was refused")]
    Peer(#[source] VerifyError),
    /// The peer refuses us: it answered with an alert.
    #[error("the peer refused the handshake with alert {alert}")]
    Refused {
        /// TLS alert name.
        alert: String,
    },
    /// The peer did not choose `h2`.
    #[error("the peer does not speak h2 (ALPN)")]
    Alpn,
    /// The peer broke the protocol.
    #[error("the peer broke the TLS protocol")]
    Protocol(#[source] rustls::Error),
    /// The connection failed below TLS.
    #[error("connection lost during the TLS handshake")]
    Io(#[source] io::Error),
}

impl TlsError {
    fn from_io(error: io::Error) -> Self {
        match stream::tls_error(&error) {
            Some(tls) => Self::from_tls(tls),
            None => Self::Io(error),
        }
    }

    fn from_tls(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(CertificateError::Other(other)) => {
                match other.0.downcast_ref::<VerifyError>() {
                    Some(refused) => Self::Peer(refused.clone()),
                    None => Self::Protocol(error.clone()),
                }
            }
            rustls::Error::NoCertificatesPresented => Self::Peer(VerifyError::NoCertificate),
            rustls::Error::AlertReceived(alert) => Self::Refused {
                alert: format!("{alert:?}"),
            },
            rustls::Error::NoApplicationProtocol => Self::Alpn,
            other => Self::Protocol(other.clone()),
        }
    }
}

/// Connects over `io` as `svid`; the server must be one of `expected` (none → always refused).
///
/// # Errors
/// [`TlsError`]. With TLS 1.3 a server that refuses our certificate shows it only at the first
/// reads of the stream: see [`SecureStream::failure`].
pub async fn connect<T: AsyncRead + AsyncWrite + Unpin>(
    io: T,
    svid: &Svid,
    expected: &Arc<[SpiffeId]>,
    deadline: Duration,
) -> Result<Secured<T>, TlsError> {
    let mut config = svid.client_config().clone();
    config
        .dangerous()
        .set_certificate_verifier(Arc::new(ExpectPeers {
            bundle: svid.bundle().clone(),
            revoked: svid.revoked().clone(),
            expected: expected.clone(),
        }));
    // Required by the library; with SNI off it is neither sent nor checked.
    let name = ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into());
    let handshake = TlsConnector::from(Arc::new(config)).connect(name, io);
    let stream = tokio::time::timeout(deadline, handshake)
        .await
        .map_err(|_| TlsError::Timeout { after: deadline })?
        .map_err(TlsError::from_io)?;
    secured(TlsStream::Client(stream), |leaf| {
        verify::ids_of(leaf)
            .into_iter()
            .find(|id| expected.contains(id))
    })
}

/// Accepts over `io` as `svid`; the client must present an identity of our trust domain.
///
/// # Errors
/// [`TlsError`].
pub async fn accept<T: AsyncRead + AsyncWrite + Unpin>(
    io: T,
    svid: &Svid,
    deadline: Duration,
) -> Result<Secured<T>, TlsError> {
    let handshake = TlsAcceptor::from(svid.server_config().clone())
        .accept(io)
        .into_fallible();
    let stream = match tokio::time::timeout(deadline, handshake).await {
        Ok(Ok(stream)) => stream,
        Ok(Err((error, io))) => {
            let error = TlsError::from_io(error);
            if matches!(error, TlsError::Peer(_)) {
                // The deadline is the answer; what the peer does meanwhile does not matter.
                let _ = tokio::time::timeout(LINGER.min(deadline), linger(io)).await;
            }
            return Err(error);
        }
        Err(_) => return Err(TlsError::Timeout { after: deadline }),
    };
    secured(TlsStream::Server(stream), verify::identity_of)
}

/// A client believes the handshake done and is already sending: closing now would answer that with
/// a RST, which may overtake the alert that says why. So its bytes are read until it has closed.
async fn linger<T: AsyncRead + AsyncWrite + Unpin>(mut io: T) {
    let mut left = LINGER_BYTES;
    let mut unread = [0; 1024];
    // An error means that the peer has gone, which ends the wait as well.
    let _ = io.shutdown().await;
    while left > 0 {
        match io.read(&mut unread).await {
            Ok(0) | Err(_) => return,
            Ok(n) => left = left.saturating_sub(n),
        }
    }
}

fn secured<T>(
    mut stream: TlsStream<T>,
    identify: impl FnOnce(&CertificateDer<'_>) -> Option<SpiffeId>,
) -> Result<Secured<T>, TlsError> {
    let state: &CommonState = match &mut stream {
        TlsStream::Client(s) => {
            s.get_mut().1.set_buffer_limit(Some(SEALED_AHEAD));
            s.get_ref().1
        }
        TlsStream::Server(s) => {
            s.get_mut().1.set_buffer_limit(Some(SEALED_AHEAD));
            s.get_ref().1
        }
    };
    if state.alpn_protocol() != Some(ALPN) {
        return Err(TlsError::Alpn);
    }
    let peer = state
        .peer_certificates()
        .and_then(<[_]>::first)
        .and_then(identify)
        .ok_or(TlsError::Peer(VerifyError::NoIdentity))?;
    let certificates = PeerCertificates::of(state.peer_certificates().unwrap_or_default());
    let group = state.negotiated_key_exchange_group().map(|g| g.name());
    let key_exchange = match group {
        Some(NamedGroup::X25519MLKEM768 | NamedGroup::secp256r1MLKEM768 | NamedGroup::MLKEM768) => {
            KeyExchange::PostQuantum
        }
        _ => KeyExchange::Classical,
    };
    Ok(Secured {
        stream: SecureStream::new(stream),
        peer,
        certificates,
        key_exchange,
    })
}
