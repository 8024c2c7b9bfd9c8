//! How a connection failed, and what that means: one exhaustive match.
//! In: typed errors of all parts. Out: response flag, CONNECT status, reason word, log text.
//! Texts users grep for are upstream's.

use crate::gather::NotReady;
use ambit_hbone::io::{
    AcceptError, ConnectError, DialError as TunnelDialError, OpenError, Stage, StreamRefused,
    TunnelError,
};
use ambit_hbone::wire::connect::InvalidAuthority;
use ambit_identity::store::SecretError;
use ambit_model::ids::PolicyKey;
use ambit_net::relay::{Side, StreamError};
use ambit_net::socket::DialError;
use ambit_policy::l4;
use ambit_routing::connection::inbound::Refusal;
use ambit_routing::connection::outbound::Denial;
use http::StatusCode;
use std::io;
use std::sync::Arc;
use thiserror::Error;

/// Why a connection was refused or ended badly.
#[derive(Debug, Error)]
pub enum Failure {
    /// Configuration did not arrive in time.
    #[error(transparent)]
    NotReady(#[from] NotReady),
    /// One of our own dialling sockets came back to us.
    #[error("attempted recursive call to ourselves")]
    OwnSocket,
    /// Where the application wanted to go is not known.
    #[error("no original destination")]
    OriginalDst(#[source] io::Error),
    /// Routing refuses it.
    #[error(transparent)]
    Routing(Denial),
    /// The workload's hostname has no address.
    #[error("no ip addresses were resolved for workload hostname {hostname}")]
    Unresolved {
        /// Its hostname.
        hostname: Arc<str>,
    },
    /// The workload's hostname could not be looked up.
    #[error("hostname {hostname} cannot be resolved")]
    Resolve {
        /// Its hostname.
        hostname: Arc<str>,
        /// Cause.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The decision named an authority that is none.
    #[error("the destination cannot be named")]
    Authority(#[source] InvalidAuthority),
    /// The pod has no certificate.
    #[error("no certificate")]
    Certificate(#[source] SecretError),
    /// The peer did not answer at all.
    #[error("connection timed out, maybe a NetworkPolicy is blocking HBONE port 15008")]
    TunnelTimeout(#[source] Arc<TunnelDialError>),
    /// No tunnel to the peer.
    #[error("no tunnel")]
    Tunnel(#[source] Arc<TunnelDialError>),
    /// The peer answered CONNECT with an error.
    #[error("http status: {status}{}", .reason.as_ref().map(|r| format!(" ({r})")).unwrap_or_default())]
    PeerRefused {
        /// Status.
        status: StatusCode,
        /// `x-ambit-reason`.
        reason: Option<String>,
    },
    /// The tunnel gave no stream.
    #[error("no stream")]
    Stream(#[source] ConnectError),
    /// A plain destination cannot be reached.
    #[error("destination not reachable")]
    Dial(#[source] DialError),
    /// The inbound decision refuses it.
    #[error(transparent)]
    Refused(Refusal),
    /// The application cannot be reached.
    #[error("application not reachable")]
    App(#[source] DialError),
    /// The application did not take the PROXY header.
    #[error("application took no PROXY header")]
    ProxyHeader(#[source] io::Error),
    /// Too many handshakes of this pod's peers are going on.
    #[error("too many handshakes in progress for this pod")]
    HandshakeBudget,
    /// A peer's handshake failed.
    #[error("no tunnel from the peer")]
    Accept(#[source] AcceptError),
    /// A peer's tunnel failed.
    #[error("tunnel of the peer failed")]
    PeerTunnel(#[source] TunnelError),
    /// A peer's stream asks for nothing that can be given.
    #[error("stream refused")]
    PeerStream(#[source] StreamRefused),
    /// The client gave up before it had an answer.
    #[error("the client gave up before the application was connected")]
    Cancelled,
    /// The client has gone when it was to hear that the application is connected.
    #[error("the client has gone")]
    ClientGone(#[source] StreamError),
    /// A joined connection broke.
    #[error("{} side broke", side(*.by))]
    Broken {
        /// Whose half.
        by: Side,
        /// Cause.
        #[source]
        source: StreamError,
    },
    /// We cut it.
    #[error("{}", cut(*.0))]
    Cut(Cut),
}

/// Why a live connection is cut by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Policy no longer allows it.
    PolicyChange,
    /// The process ends and its time is up.
    Drain,
    /// The pod is no longer served.
    PodRemoved,
}

/// What a failure means to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// `response_flags`.
    pub flags: &'static str,
    /// Answer to a CONNECT.
    pub status: StatusCode,
    /// `x-ambit-reason`, and the label of refused connections.
    pub reason: &'static str,
}

impl Failure {
    /// Flag, status and reason.
    pub fn verdict(&self) -> Verdict {
        const BUSY: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
        let (flags, status, reason) = match self {
            Self::NotReady(NotReady::NotSynced) => (CONNECT, BUSY, "not-ready"),
            Self::NotReady(NotReady::UnknownWorkload(_)) => (CONNECT, BUSY, "unknown-workload"),
            Self::OwnSocket => (DENY, BUSY, "loop"),
            Self::OriginalDst(_) => (CONNECT, BUSY, "no-destination"),
            Self::Routing(denial) => routing(denial),
            Self::Unresolved { .. } | Self::Resolve { .. } | Self::Authority(_) => {
                (CONNECT, BUSY, "unresolved")
            }
            Self::Certificate(_) => (IDENTITY_ERROR, BUSY, "no-certificate"),
            Self::TunnelTimeout(_) => (NETWORK_POLICY, BUSY, "timeout"),
            Self::Tunnel(error) => tunnel(error),
            Self::PeerRefused { status, .. } if *status == StatusCode::UNAUTHORIZED => {
                (DENY, *status, "deny")
            }
            Self::PeerRefused { .. } => (CONNECT, BUSY, "peer-refused"),
            Self::Stream(_) => (CONNECT, BUSY, "no-stream"),
            Self::Dial(_) | Self::App(_) | Self::ProxyHeader(_) => (CONNECT, BUSY, "connect"),
            Self::Refused(refusal) => {
                let flags = match refusal {
                    Refusal::Policy(_) => DENY,
                    _ => CONNECT,
                };
                let status = StatusCode::from_u16(refusal.status()).unwrap_or(BUSY);
                (flags, status, refusal.reason())
            }
            Self::HandshakeBudget => (TLS_FAILURE, BUSY, "handshake-budget"),
            Self::Accept(AcceptError::Tls(_)) => (TLS_FAILURE, BUSY, "tls"),
            Self::Accept(AcceptError::H2(_) | AcceptError::Timeout { .. }) => (H2, BUSY, "h2"),
            Self::PeerTunnel(TunnelError::Violation(_)) => (H2, BUSY, "h2"),
            Self::PeerTunnel(TunnelError::Mux(_)) => (CONNECT, BUSY, "broken"),
            Self::PeerTunnel(TunnelError::Ping { .. }) => (CONNECT, BUSY, "ping"),
            Self::PeerStream(refused) => peer_stream(refused),
            Self::Cancelled | Self::ClientGone(_) => (CONNECT, BUSY, "client-gone"),
            Self::Broken { .. } => (CONNECT, BUSY, "broken"),
            Self::Cut(Cut::PolicyChange) => (DENY, StatusCode::UNAUTHORIZED, "policy-change"),
            Self::Cut(Cut::Drain) => (CONNECT, BUSY, "drain"),
            Self::Cut(Cut::PodRemoved) => (CONNECT, BUSY, "pod-removed"),
        };
        Verdict {
            flags,
            status,
            reason,
        }
    }

    /// The policy, and its rule, that decided a denial.
    pub fn policy(&self) -> Option<(&PolicyKey, Option<usize>)> {
        let Self::Refused(Refusal::Policy(l4::Denial { policy, rule, .. })) = self else {
            return None;
        };
        policy.as_ref().map(|policy| (policy, *rule))
    }
}

impl From<OpenError> for Failure {
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Dial(error) if is_connect_timeout(&error) => Self::TunnelTimeout(error),
            OpenError::Dial(error) => Self::Tunnel(error),
            OpenError::Connect(ConnectError::Refused { status, reason }) => {
                Self::PeerRefused { status, reason }
            }
            OpenError::Connect(error) => Self::Stream(error),
        }
    }
}

fn is_connect_timeout(error: &TunnelDialError) -> bool {
    match error {
        TunnelDialError::Timeout { stage, .. } => *stage == Stage::Connect,
        TunnelDialError::Connect(source) => source
            .downcast_ref::<DialError>()
            .is_some_and(|error| error.kind() == io::ErrorKind::TimedOut),
        _ => false,
    }
}

fn tunnel(error: &TunnelDialError) -> (&'static str, StatusCode, &'static str) {
    const BUSY: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
    match error {
        TunnelDialError::Connect(_) | TunnelDialError::Stopped => (CONNECT, BUSY, "connect"),
        TunnelDialError::Tls(_) => (TLS_FAILURE, BUSY, "tls"),
        TunnelDialError::H2(_) | TunnelDialError::NoStreams => (H2, BUSY, "h2"),
        TunnelDialError::Timeout { stage, .. } => match stage {
            Stage::Connect => (NETWORK_POLICY, BUSY, "timeout"),
            Stage::Tls => (TLS_FAILURE, BUSY, "tls"),
            Stage::H2 => (H2, BUSY, "h2"),
        },
    }
}

fn peer_stream(refused: &StreamRefused) -> (&'static str, StatusCode, &'static str) {
    match refused {
        StreamRefused::Request(_) => (CONNECT, StatusCode::BAD_REQUEST, "bad-request"),
        StreamRefused::Headers { .. } => (
            CONNECT,
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            "headers",
        ),
        StreamRefused::Full { .. } => (CONNECT, StatusCode::SERVICE_UNAVAILABLE, "stream-limit"),
    }
}

fn routing(denial: &Denial) -> (&'static str, StatusCode, &'static str) {
    const BUSY: StatusCode = StatusCode::SERVICE_UNAVAILABLE;
    let reason = match denial {
        Denial::ReservedPort { .. } => return (DENY, BUSY, "reserved-port"),
        Denial::NoSuchPort { .. } => "no-such-port",
        Denial::NoHealthyUpstream { .. } => "no-healthy-upstream",
        Denial::UnknownWaypoint { .. } => "unknown-waypoint",
        Denial::WaypointUnavailable { .. } => "waypoint-unavailable",
        Denial::NotSupported { .. } => "not-supported",
        Denial::NoAddress { .. } => "unresolved",
    };
    (CONNECT, BUSY, reason)
}

fn side(side: Side) -> &'static str {
    match side {
        Side::Client => "client",
        Side::Server => "server",
    }
}

fn cut(cut: Cut) -> &'static str {
    match cut {
        Cut::PolicyChange => "connection closed due to policy change",
        Cut::Drain => "connection closed due to connection drain",
        Cut::PodRemoved => "connection closed because the pod is no longer served",
    }
}

const DENY: &str = "DENY";
const CONNECT: &str = "CONNECT";
const TLS_FAILURE: &str = "TLS_FAILURE";
const H2: &str = "H2_HANDSHAKE_FAILURE";
const NETWORK_POLICY: &str = "NETWORK_POLICY";
const IDENTITY_ERROR: &str = "IDENTITY_ERROR";

#[cfg(test)]
mod tests;
