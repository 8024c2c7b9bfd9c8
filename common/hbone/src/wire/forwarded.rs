//! `forwarded`: the client's address and the service it addressed.
//! In: `for="ip:port";host=name` of any element order and quoting. Out: [`Forwarded`]; and back.
//! Spec: RFC 7239; only the first element of a list counts, it is the one nearest to the client.

use super::connect::{Authority, Host};
use http::HeaderValue;
use std::net::{IpAddr, SocketAddr};

/// Longest header looked at, bytes.
const LONGEST: usize = 1024;

/// Who the client is and what it addressed, as the sending proxy says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forwarded {
    /// The client.
    pub client: SocketAddr,
    /// Host name of the service it addressed; used for metrics only.
    pub host: Option<Box<str>>,
}

impl Forwarded {
    /// Reads a header; `None` if it has no usable client address.
    pub fn parse(value: &str) -> Option<Self> {
        if value.len() > LONGEST {
            return None;
        }
        let mut client = None;
        let mut host = None;
        for pair in first_element(value) {
            let (key, value) = pair.split_once('=')?;
            let value = unquote(value.trim())?;
            match key.trim().to_ascii_lowercase().as_str() {
                "for" if client.is_none() => client = Some(node(value)?),
                "host" if host.is_none() => host = Some(value),
                _ => {}
            }
        }
        Some(Self {
            client: client?,
            host: host.and_then(service_host),
        })
    }

    /// Writes the header; `None` only for a host that cannot be a header value.
    pub fn to_header(&self) -> Option<HeaderValue> {
        let client = SocketAddr::new(self.client.ip().to_canonical(), self.client.port());
        let text = match &self.host {
            Some(host) => format!("for=\"{client}\";host={host}"),
            None => format!("for=\"{client}\""),
        };
        HeaderValue::from_str(&text).ok()
    }
}

/// `key=value` pairs of the first list element; `,` and `;` inside quotes do not separate.
fn first_element(value: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let text = rest?;
        let mut quoted = false;
        let end = text.find(|c: char| {
            quoted ^= c == '"';
            !quoted && (c == ';' || c == ',')
        });
        let (pair, after) = match end {
            Some(at) if text.as_bytes()[at] == b';' => (&text[..at], Some(&text[at + 1..])),
            Some(at) => (&text[..at], None),
            None => (text, None),
        };
        rest = after;
        Some(pair)
    })
    .filter(|pair| !pair.trim().is_empty())
}

/// A token or a quoted string without escapes (none of our values needs one).
fn unquote(value: &str) -> Option<&str> {
    let inner = match value.strip_prefix('"') {
        Some(rest) => rest.strip_suffix('"')?,
        None => value,
    };
    (!inner.contains(['"', '\\'])).then_some(inner)
}

/// `ip:port` or `[v6]:port`; a name or an address without a port says too little.
fn node(value: &str) -> Option<SocketAddr> {
    value.parse::<Authority>().ok()?.socket_addr()
}

fn service_host(value: &str) -> Option<Box<str>> {
    // A port may follow; it is not part of the service's name.
    let with_port: Result<Authority, _> = value.parse();
    let authority = with_port.or_else(|_| format!("{value}:1").parse()).ok()?;
    match authority.host {
        Host::Name(name) => Some(name),
        Host::Ip(IpAddr::V4(_) | IpAddr::V6(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn headers_of_proxies_parse() {
        for (text, client, host) in [
            ("for=\"10.0.0.1:4000\"", "10.0.0.1:4000", None),
            ("for=\"[fd00::1]:4000\"", "[fd00::1]:4000", None),
            ("for=10.0.0.1:4000", "10.0.0.1:4000", None),
            (
                "for=\"10.0.0.1:4000\";host=web.default.svc",
                "10.0.0.1:4000",
                Some("web.default.svc"),
            ),
            (
                " Host=\"Web.svc:80\" ; FOR=\"10.0.0.1:1\" ;proto=http",
                "10.0.0.1:1",
                Some("web.svc"),
            ),
            ("for=\"10.0.0.1:1\", for=\"10.0.0.2:2\"", "10.0.0.1:1", None),
            ("for=\"10.0.0.1:1\";host=10.0.0.9", "10.0.0.1:1", None),
            ("for=\"10.0.0.1:1\";", "10.0.0.1:1", None),
        ] {
            let parsed = Forwarded::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!(parsed.client, client.parse().unwrap(), "{text}");
            assert_eq!(parsed.host.as_deref(), host, "{text}");
        }
    }

    #[test]
    fn nonsense_is_no_header() {
        let long = format!("for=\"10.0.0.1:1\";x={}", "y".repeat(2000));
        for text in [
            "",
            ";",
            "for",
            "for=",
            "for=\"10.0.0.1:1",
            "for=unknown",
            "for=\"_hidden\"",
            "for=10.0.0.1",
            "host=web",
            "for=\"10.0.0.1:1\\\"\"",
            "=\"",
            ", for=\"10.0.0.1:1\"",
            &long,
        ] {
            assert_eq!(Forwarded::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_client_round_trips(ip in any::<IpAddr>(), port in 1..=u16::MAX, named in any::<bool>()) {
            let forwarded = Forwarded {
                client: SocketAddr::new(ip.to_canonical(), port),
                host: named.then(|| "web.default.svc.cluster.local".into()),
            };
            let header = forwarded.to_header().unwrap();
            prop_assert_eq!(Forwarded::parse(header.to_str().unwrap()), Some(forwarded));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,80}", pairs in "([a-z]{0,4}=?[\"\\[\\]:;,=.a-f0-9]{0,12}){0,8}") {
            let _ = Forwarded::parse(&text);
            let _ = Forwarded::parse(&pairs);
        }
    }
}
