//! Every way a request can end without an upstream's answer, and what is said of it.
//! In: a [`Failure`] of any layer. Out: status, response flags, details, body and blame, in one
//! exhaustive match. Flags, details and texts are Envoy's: users search for them.

mod unnamed;

pub(crate) use unnamed::{Barred, Unnamed};

use http::StatusCode;

/// Why a request got no answer from an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No route matches.
    NoRoute,
    /// The routes of the service have not arrived.
    NotConfigured,
    /// The route names a cluster that is not known.
    NoCluster,
    /// The route's destination is not one that requests can go to.
    InvalidBackend,
    /// All weights are 0, or the route has no destination.
    NoDestination,
    /// No endpoint can take it.
    NoHealthyUpstream,
    /// Its host leads nowhere.
    Unnamed(Unnamed),
    /// No connection to the endpoint.
    Connect(ConnectFailure),
    /// The connection broke before response headers.
    ResetBeforeHeaders,
    /// The upstream broke HTTP.
    Protocol,
    /// The route's time is over.
    Timeout,
    /// The time of one try is over, and of the last one at that.
    PerTryTimeout,
    /// The request itself is malformed.
    Malformed(Malformed),
    /// A policy refuses it.
    Denied,
    /// The request asks for a tunnel, or to be upgraded, as we do not allow.
    UpgradeRefused,
}

/// What is wrong with a request, or with the bytes that were to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Malformed {
    /// No HTTP/1.1 head.
    Head,
    /// A head that is too long, or has too many headers.
    TooLarge,
    /// A head that was not complete in time.
    TooSlow,
    /// `Content-Length` and `Transfer-Encoding` in one head.
    FramedTwice,
    /// A body that does not keep to its framing.
    Body,
    /// No host, several, or one that is none.
    Host,
    /// A path that means two things.
    Path,
    /// HTTP/2 frames that break the protocol, or that nobody who means well sends.
    Frames,
    /// A client that no longer answers PINGs.
    Silent,
}

/// Which step of connecting failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ConnectFailure {
    /// No TCP connection.
    Dial,
    /// No mutual TLS: certificates, identities, handshake.
    Tls,
    /// The peer refused the CONNECT.
    Refused,
    /// Not in time.
    Timeout,
    /// We have no certificate.
    Identity,
}

/// Who has to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    /// The client or its configuration.
    Source,
    /// The upstream.
    Upstream,
    /// This proxy or its configuration.
    Us,
}

/// What is told to the client, the log and the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) status: StatusCode,
    /// Envoy's short flags.
    pub(crate) flags: &'static str,
    /// Envoy's response code details.
    pub(crate) details: &'static str,
    pub(crate) body: &'static str,
    pub(crate) blame: Blame,
}

/// Flags when there is nothing to say.
pub(crate) const NO_FLAGS: &str = "-";
/// The client went away first.
pub(crate) const DOWNSTREAM_GONE: &str = "DC";
/// The upstream broke off inside its response.
pub(crate) const UPSTREAM_GONE: &str = "UC";
/// A delay was injected.
pub(crate) const DELAYED: &str = "DI";
/// An abort was injected.
pub(crate) const ABORTED: &str = "FI";
/// A delay, then an abort.
pub(crate) const DELAYED_ABORTED: &str = "DI,FI";
/// Every retry was used up and the last answer was passed on.
pub(crate) const RETRIES_USED_UP: &str = "URX";
/// The route's time ended inside the response.
pub(crate) const TIMED_OUT: &str = "UT";

const CONNECTION_FAILURE: &str = "upstream connect error or disconnect/reset before headers. \
                                  reset reason: connection failure";
const CONNECTION_TIMEOUT: &str = "upstream connect error or disconnect/reset before headers. \
                                  reset reason: connection timeout";
const CONNECTION_TERMINATION: &str = "upstream connect error or disconnect/reset before headers. \
                                      reset reason: connection termination";

const PROTOCOL_ERROR: &str = "upstream connect error or disconnect/reset before headers. \
                              reset reason: protocol error";
const TIMEOUT: &str = "upstream request timeout";
const DENIED: &str = "RBAC: access denied";
const NOT_CONFIGURED: &str = "waypoint: routes have not arrived";
const BROKEN_OFF: &str = "upstream_reset_before_response_started{connection_termination}";
const NOT_HTTP: &str = "upstream_reset_before_response_started{protocol_error}";

impl Failure {
    /// What is said. `retried`: a retry policy was used to its end.
    pub(crate) fn said(self, retried: bool) -> Said {
        use Blame::{Source, Upstream, Us};
        let last = |once, used_up| if retried { used_up } else { once };
        let (status, flags, details, body, blame) = match self {
            Self::NoRoute => (404, "NR", "route_not_found", "", Source),
            Self::NotConfigured => (503, "NC", "router_not_configured", NOT_CONFIGURED, Us),
            Self::NoCluster => (503, "NC", "cluster_not_found", "", Us),
            Self::InvalidBackend => (500, "NC", "cluster_not_found", "", Us),
            Self::NoDestination => (500, "NR", "no_weighted_cluster", "", Us),
            Self::NoHealthyUpstream => (
                503,
                "UH",
                "no_healthy_upstream",
                "no healthy upstream",
                Upstream,
            ),
            Self::Unnamed(unnamed) => {
                let (flags, details, body) = unnamed.said();
                (503, flags, details, body, Upstream)
            }
            Self::Connect(failure) => {
                let (details, body, blame) = failure.said();
                (503, last("UF", "UF,URX"), details, body, blame)
            }
            Self::ResetBeforeHeaders => {
                let flags = last("UC", "UC,URX");
                (503, flags, BROKEN_OFF, CONNECTION_TERMINATION, Upstream)
            }
            Self::Protocol => {
                let flags = last("UPE", "UPE,URX");
                (502, flags, NOT_HTTP, PROTOCOL_ERROR, Upstream)
            }
            Self::Timeout => (504, "UT", "response_timeout", TIMEOUT, Upstream),
            Self::PerTryTimeout => {
                let flags = last("UT", "UT,URX");
                (504, flags, "upstream_per_try_timeout", TIMEOUT, Upstream)
            }
            Self::Malformed(malformed) => {
                let (status, details, body) = malformed.said();
                (status, "DPE", details, body, Source)
            }
            Self::Denied => (403, NO_FLAGS, "rbac_access_denied", DENIED, Source),
            Self::UpgradeRefused => (403, NO_FLAGS, "upgrade_failed", "", Source),
        };
        Said {
            status: StatusCode::from_u16(status).expect("every status above is valid"),
            flags,
            details,
            body,
            blame,
        }
    }
}

impl Malformed {
    /// Status, details and body.
    fn said(self) -> (u16, &'static str, &'static str) {
        match self {
            Self::Head | Self::Body => (400, "http1.codec_error", "bad request"),
            Self::TooLarge => (431, "request_headers_too_large", "headers too large"),
            Self::TooSlow => (408, "request_header_timeout", "request timeout"),
            Self::FramedTwice => {
                let details = "http1.content_length_and_chunked_not_allowed";
                (400, details, "bad request")
            }
            Self::Host => (400, "invalid_host", "bad request"),
            Self::Path => (400, "path_normalization_failed", "bad request"),
            Self::Frames => (400, "http2.violation.of.messaging.rule", ""),
            Self::Silent => (408, "http2.ping_timeout", ""),
        }
    }

    /// Whether the client gets an answer; otherwise its connection ends.
    pub(crate) fn is_answered(self) -> bool {
        !matches!(self, Self::Frames | Self::Silent)
    }

    /// A word for the metric `ambit_malformed_requests_total`.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::Head => "head",
            Self::TooLarge => "headers-too-large",
            Self::TooSlow => "head-timeout",
            Self::FramedTwice => "framed-twice",
            Self::Body => "body",
            Self::Host => "host",
            Self::Path => "path",
            Self::Frames => "http2",
            Self::Silent => "ping",
        }
    }
}

impl ConnectFailure {
    /// Details, body and blame.
    fn said(self) -> (&'static str, &'static str, Blame) {
        match self {
            Self::Dial | Self::Tls | Self::Refused => {
                let details = "upstream_reset_before_response_started{connection_failure}";
                (details, CONNECTION_FAILURE, Blame::Upstream)
            }
            Self::Timeout => {
                let details = "upstream_reset_before_response_started{connection_timeout}";
                (details, CONNECTION_TIMEOUT, Blame::Upstream)
            }
            Self::Identity => (
                "no_certificate_of_this_waypoint",
                CONNECTION_FAILURE,
                Blame::Us,
            ),
        }
    }
}

/// gRPC status number for an HTTP status we answer a gRPC call with.
/// Source: gRPC, "HTTP to gRPC Status Code Mapping".
pub(crate) fn grpc_status(status: StatusCode) -> u8 {
    match status.as_u16() {
        400 => 13,
        401 => 16,
        403 => 7,
        404 => 12,
        429 | 502 | 503 | 504 => 14,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_told_as_envoy_tells_them() {
        let table = [
            (Failure::NoRoute, 404, "NR", "NR"),
            (Failure::NotConfigured, 503, "NC", "NC"),
            (Failure::NoCluster, 503, "NC", "NC"),
            (Failure::InvalidBackend, 500, "NC", "NC"),
            (Failure::NoDestination, 500, "NR", "NR"),
            (Failure::NoHealthyUpstream, 503, "UH", "UH"),
            (Failure::Unnamed(Unnamed::Unresolved), 503, "DF", "DF"),
            (Failure::Unnamed(Unnamed::Overflow), 503, "UO", "UO"),
            (
                Failure::Unnamed(Unnamed::Barred(Barred::Own)),
                503,
                "UH",
                "UH",
            ),
            (Failure::Connect(ConnectFailure::Dial), 503, "UF", "UF,URX"),
            (Failure::Connect(ConnectFailure::Tls), 503, "UF", "UF,URX"),
            (
                Failure::Connect(ConnectFailure::Refused),
                503,
                "UF",
                "UF,URX",
            ),
            (
                Failure::Connect(ConnectFailure::Timeout),
                503,
                "UF",
                "UF,URX",
            ),
            (
                Failure::Connect(ConnectFailure::Identity),
                503,
                "UF",
                "UF,URX",
            ),
            (Failure::ResetBeforeHeaders, 503, "UC", "UC,URX"),
            (Failure::Protocol, 502, "UPE", "UPE,URX"),
            (Failure::Timeout, 504, "UT", "UT"),
            (Failure::PerTryTimeout, 504, "UT", "UT,URX"),
            (Failure::Malformed(Malformed::Head), 400, "DPE", "DPE"),
            (Failure::Malformed(Malformed::TooSlow), 408, "DPE", "DPE"),
            (Failure::Malformed(Malformed::TooLarge), 431, "DPE", "DPE"),
            (Failure::Denied, 403, "-", "-"),
            (Failure::UpgradeRefused, 403, "-", "-"),
        ];
        for (failure, status, once, retried) in table {
            let said = failure.said(false);
            assert_eq!(
                (said.status.as_u16(), said.flags),
                (status, once),
                "{failure:?}"
            );
            assert_eq!(failure.said(true).flags, retried, "{failure:?}");
        }
    }
}
