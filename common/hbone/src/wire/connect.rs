//! The CONNECT request and its reply.
//! In: method, authority, headers. Out: [`ConnectRequest`], [`ConnectReply`]; and back.
//! Spec: RFC 9113 section 8.5, RFC 3986 section 3.2; Istio's headers.

use super::{Forwarded, Traceparent};
use ambit_api::headers;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, Response, StatusCode, Version};
use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use thiserror::Error;

/// Longest host name (RFC 1035).
const LONGEST_NAME: usize = 253;
/// Longest reason kept of a refusal.
const LONGEST_REASON: usize = 128;

/// Where a stream is to go: `ip:port`, `[v6]:port` or `name:port`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Authority {
    /// Address or name.
    pub host: Host,
    /// TCP port, host order, not 0.
    pub port: u16,
}

/// Host of an [`Authority`].
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// An address; IPv4-mapped IPv6 is turned into IPv4.
    Ip(IpAddr),
    /// A DNS name, lower case.
    Name(Box<str>),
}

/// Why a string is not an [`Authority`].
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{value}` is not ip:port, [ip]:port or name:port")]
pub struct InvalidAuthority {
    /// What was given, cut to 256 characters.
    pub value: String,
}

impl From<SocketAddr> for Authority {
    fn from(address: SocketAddr) -> Self {
        Self {
            host: Host::Ip(address.ip().to_canonical()),
            port: address.port(),
        }
    }
}

impl Authority {
    /// The address, if the host is not a name.
    pub fn socket_addr(&self) -> Option<SocketAddr> {
        match &self.host {
            Host::Ip(ip) => Some(SocketAddr::new(*ip, self.port)),
            Host::Name(_) => None,
        }
    }
}

impl FromStr for Authority {
    type Err = InvalidAuthority;

    fn from_str(value: &str) -> Result<Self, InvalidAuthority> {
        parse(value).ok_or_else(|| InvalidAuthority {
            value: value.chars().take(256).collect(),
        })
    }
}

fn parse(value: &str) -> Option<Authority> {
    let (host, port) = value.rsplit_once(':')?;
    let port = decimal_port(port)?;
    let host = if let Some(inner) = host.strip_prefix('[') {
        let ip: Ipv6Addr = inner.strip_suffix(']')?.parse().ok()?;
        Host::Ip(IpAddr::V6(ip).to_canonical())
    } else if let Ok(ip) = host.parse::<IpAddr>() {
        // `::1:80` would be ambiguous: an IPv6 address needs its brackets.
        Host::Ip(Some(ip).filter(IpAddr::is_ipv4)?)
    } else {
        Host::Name(name(host)?)
    };
    Some(Authority { host, port })
}

fn decimal_port(text: &str) -> Option<u16> {
    let plain = !text.is_empty() && text.len() <= 5 && text.bytes().all(|b| b.is_ascii_digit());
    plain
        .then(|| text.parse().ok())
        .flatten()
        .filter(|p| *p != 0)
}

fn name(text: &str) -> Option<Box<str>> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let label = |l: &str| {
        (1..=63).contains(&l.len())
            && l.bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    // A name whose last label is a number is an address somebody got wrong.
    let numeric = |l: &str| l.bytes().all(|b| b.is_ascii_digit());
    (text.len() <= LONGEST_NAME
        && text.split('.').all(label)
        && !text.rsplit('.').next().is_some_and(numeric))
    .then(|| text.to_ascii_lowercase().into())
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]:{}", self.port),
            Host::Ip(IpAddr::V4(ip)) => write!(f, "{ip}:{}", self.port),
            Host::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}

/// A CONNECT request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectRequest {
    /// `:authority`.
    pub authority: Authority,
    /// `baggage` as it is; see [`super::Baggage`].
    pub baggage: Option<HeaderValue>,
    /// `forwarded`: who the client is.
    pub forwarded: Option<Forwarded>,
    /// `traceparent`.
    pub traceparent: Option<Traceparent>,
    /// `x-forwarded-network`.
    pub network: Option<HeaderValue>,
    /// `x-istio-source`: the kind of proxy that opens the stream (`waypoint`, `gateway`); absent for a
    /// node proxy. A claim: nothing may be allowed because of it.
    pub source: Option<HeaderValue>,
}

/// Why a request cannot be served; each is answered with 400.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BadConnect {
    /// Not CONNECT.
    #[error("method {0} is not CONNECT")]
    Method(Method),
    /// CONNECT without an authority.
    #[error("CONNECT without an authority")]
    NoAuthority,
    /// An authority nobody can dial.
    #[error("the authority cannot be used")]
    Authority(#[source] InvalidAuthority),
}

impl ConnectRequest {
    /// A request without headers.
    pub fn new(authority: Authority) -> Self {
        Self {
            authority,
            baggage: None,
            forwarded: None,
            traceparent: None,
            network: None,
            source: None,
        }
    }

    /// Reads a request. Headers that make no sense are treated as absent: they are hints.
    ///
    /// # Errors
    /// [`BadConnect`].
    pub fn read<B>(request: &Request<B>) -> Result<Self, BadConnect> {
        if request.method() != Method::CONNECT {
            return Err(BadConnect::Method(request.method().clone()));
        }
        let authority = request.uri().authority().ok_or(BadConnect::NoAuthority)?;
        let authority = authority.as_str().parse().map_err(BadConnect::Authority)?;
        let headers = request.headers();
        Ok(Self {
            authority,
            baggage: headers.get(headers::BAGGAGE).cloned(),
            forwarded: text(headers, headers::FORWARDED).and_then(Forwarded::parse),
            traceparent: text(headers, headers::TRACEPARENT).and_then(Traceparent::parse),
            network: headers.get(headers::X_FORWARDED_NETWORK).cloned(),
            source: headers.get(headers::X_ISTIO_SOURCE).cloned(),
        })
    }

    /// Writes a request: `:method` and `:authority` only, and the headers that are set.
    pub fn write(&self) -> Request<()> {
        let mut request = Request::new(());
        *request.method_mut() = Method::CONNECT;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = self
            .authority
            .to_string()
            .parse()
            .expect("an address or a DNS name with a port is a valid authority");
        let headers = request.headers_mut();
        let mut put = |name: &'static str, value: Option<HeaderValue>| {
            if let Some(value) = value {
                headers.insert(HeaderName::from_static(name), value);
            }
        };
        put(headers::BAGGAGE, self.baggage.clone());
        put(
            headers::FORWARDED,
            self.forwarded.as_ref().and_then(Forwarded::to_header),
        );
        put(
            headers::TRACEPARENT,
            self.traceparent.as_ref().map(Traceparent::to_header),
        );
        put(headers::X_FORWARDED_NETWORK, self.network.clone());
        put(headers::X_ISTIO_SOURCE, self.source.clone());
        request
    }
}

/// What a peer answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConnectReply {
    /// The application is connected.
    Accepted {
        /// `baggage` of the destination workload.
        baggage: Option<HeaderValue>,
    },
    /// It is not.
    Refused {
        /// HTTP status: 401 policy, 400 bad request, 503 unreachable.
        status: StatusCode,
        /// `x-ambit-reason`, if the peer gave one.
        reason: Option<String>,
    },
}

impl ConnectReply {
    /// Reads a response; anything but 200 is a refusal.
    pub fn read<B>(response: &Response<B>) -> Self {
        let headers = response.headers();
        if response.status() == StatusCode::OK {
            return Self::Accepted {
                baggage: headers.get(headers::BAGGAGE).cloned(),
            };
        }
        Self::Refused {
            status: response.status(),
            reason: text(headers, headers::X_AMBIT_REASON)
                .map(|reason| reason.chars().take(LONGEST_REASON).collect()),
        }
    }

    /// Writes a response. A reason that cannot be a header is left out.
    pub fn write(&self) -> Response<()> {
        let mut response = Response::new(());
        *response.version_mut() = Version::HTTP_2;
        match self {
            Self::Accepted { baggage } => {
                if let Some(baggage) = baggage {
                    let name = HeaderName::from_static(headers::BAGGAGE);
                    response.headers_mut().insert(name, baggage.clone());
                }
            }
            Self::Refused { status, reason } => {
                *response.status_mut() = *status;
                let reason = reason
                    .as_deref()
                    .and_then(|r| HeaderValue::from_str(r).ok());
                if let Some(reason) = reason {
                    let name = HeaderName::from_static(headers::X_AMBIT_REASON);
                    response.headers_mut().insert(name, reason);
                }
            }
        }
        response
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests;
