//! What can go wrong, one type per operation, so that callers can tell whose fault it is.

use crate::wire::connect::BadConnect;
use ambit_identity::tls::TlsError;
use ambit_net::relay::{ResetCode, StreamError};
use http::StatusCode;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use thiserror::Error;

/// An error of the mux below, opaque.
#[derive(Debug)]
pub struct MuxError(pub(super) h2::Error);

impl fmt::Display for MuxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl std::error::Error for MuxError {}

/// Part of making a tunnel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// TCP.
    Connect,
    /// TLS handshake.
    Tls,
    /// HTTP/2 handshake: preface, settings and the first PING.
    H2,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "TCP connect",
            Self::Tls => "TLS handshake",
            Self::H2 => "HTTP/2 handshake",
        })
    }
}

/// Why there is no tunnel to a peer. Shared by everybody who waited for it.
#[derive(Debug, Error)]
pub enum DialError {
    /// The dialler failed.
    #[error("the peer cannot be reached")]
    Connect(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// No TLS: [`TlsError::Peer`] and [`TlsError::Refused`] are about identities.
    #[error("no TLS with the peer")]
    Tls(#[source] TlsError),
    /// No HTTP/2 after TLS.
    #[error("no HTTP/2 with the peer")]
    H2(#[source] MuxError),
    /// The peer allows no streams.
    #[error("the peer allows no streams")]
    NoStreams,
    /// A stage did not end in time.
    #[error("{stage} not done after {after:?}")]
    Timeout {
        /// Which.
        stage: Stage,
        /// Its deadline.
        after: Duration,
    },
    /// The pool was dropped meanwhile.
    #[error("the tunnel pool has stopped")]
    Stopped,
}

/// Why a tunnel did not give a stream.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The peer answered with something else than 200.
    #[error("the peer refused the connection with {status}{}", .reason.as_ref().map(|r| format!(" ({r})")).unwrap_or_default())]
    Refused {
        /// 401 is policy, 400 a bad request, 503 an unreachable application.
        status: StatusCode,
        /// `x-ambit-reason`.
        reason: Option<String>,
    },
    /// The peer reset the stream instead of answering.
    #[error("the peer reset the stream ({code:?})")]
    Reset {
        /// HTTP/2 error code.
        code: ResetCode,
    },
    /// No answer in time.
    #[error("no answer to CONNECT within {after:?}")]
    Timeout {
        /// The deadline.
        after: Duration,
    },
    /// The peer did nothing with the request (GOAWAY, `REFUSED_STREAM`): safe to repeat elsewhere.
    #[error("the tunnel takes no new streams")]
    Unprocessed(#[source] MuxError),
    /// The tunnel broke before the answer.
    #[error("the tunnel broke")]
    Tunnel(#[source] MuxError),
}

impl From<h2::Error> for ConnectError {
    fn from(error: h2::Error) -> Self {
        let remote_reset = error.is_reset() && error.is_remote();
        if error.is_go_away() || remote_reset && error.reason() == Some(h2::Reason::REFUSED_STREAM)
        {
            Self::Unprocessed(MuxError(error))
        } else if let (true, Some(reason)) = (remote_reset, error.reason()) {
            Self::Reset {
                code: ResetCode(reason.into()),
            }
        } else {
            Self::Tunnel(MuxError(error))
        }
    }
}

/// Why [`super::Pool::open`] gave no stream.
#[derive(Debug, Error)]
pub enum OpenError {
    /// No tunnel.
    #[error("no tunnel to the peer")]
    Dial(#[source] Arc<DialError>),
    /// A tunnel, but no stream.
    #[error("no stream to the destination")]
    Connect(#[source] ConnectError),
}

/// Why an accepted TCP connection did not become a tunnel.
#[derive(Debug, Error)]
pub enum AcceptError {
    /// No TLS.
    #[error("no TLS with the peer")]
    Tls(#[source] TlsError),
    /// No HTTP/2 after TLS.
    #[error("no HTTP/2 with the peer")]
    H2(#[source] MuxError),
    /// The HTTP/2 handshake did not end in time.
    #[error("HTTP/2 handshake not done after {after:?}")]
    Timeout {
        /// The deadline.
        after: Duration,
    },
}

/// Why a stream was refused before anybody looked at where it wants to go.
#[derive(Debug, Error)]
pub enum StreamRefused {
    /// Not a CONNECT that can be served: 400.
    #[error("not a usable CONNECT")]
    Request(#[source] BadConnect),
    /// Too many or too long headers: 431.
    #[error("{bytes} bytes of headers, at most {limit} are read")]
    Headers {
        /// Size of the list, RFC 9113 section 6.5.2.
        bytes: usize,
        /// Most that is accepted.
        limit: usize,
    },
    /// The tunnel has as many streams as it may: further ones get `REFUSED_STREAM`. Told once per
    /// tunnel.
    #[error("the tunnel carries {limit} streams, further ones are refused")]
    Full {
        /// Most streams of a tunnel.
        limit: usize,
    },
}

/// Why a served tunnel ended badly.
#[derive(Debug, Error)]
pub enum TunnelError {
    /// The connection broke, or the peer says that we broke the protocol.
    #[error("the tunnel failed")]
    Mux(#[source] MuxError),
    /// The peer broke the protocol, or asked for more than anybody who means well.
    #[error("the peer broke the HTTP/2 protocol")]
    Violation(#[source] MuxError),
    /// The peer is silent.
    #[error("PING not answered within {after:?}")]
    Ping {
        /// The deadline.
        after: Duration,
    },
}

impl From<h2::Error> for TunnelError {
    fn from(error: h2::Error) -> Self {
        if error.is_library() {
            Self::Violation(MuxError(error))
        } else {
            Self::Mux(MuxError(error))
        }
    }
}

/// What a mux error means to one half of a stream.
pub(super) fn stream_error(error: h2::Error) -> StreamError {
    match error.reason() {
        Some(reason) if error.is_reset() && error.is_remote() => {
            StreamError::Reset(ResetCode(reason.into()))
        }
        _ => StreamError::Tunnel(Box::new(MuxError(error))),
    }
}

/// For the adapters to `AsyncRead` and `AsyncWrite`.
pub(super) fn io_error(error: StreamError) -> io::Error {
    let kind = match &error {
        StreamError::Reset(_) => io::ErrorKind::ConnectionReset,
        StreamError::Stopped => io::ErrorKind::BrokenPipe,
        StreamError::Socket(e) => e.kind(),
        StreamError::Tunnel(_) => io::ErrorKind::ConnectionAborted,
    };
    io::Error::new(kind, error)
}
