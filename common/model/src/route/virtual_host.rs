//! Virtual hosts of plaintext listeners: which requests they take by the host they name.
//! In: hostnames as Gateway API and Istio write them. Out: comparisons; pure.
//! Spec: Gateway API `Listener.hostname`, `HTTPRoute.hostnames`; RFC 9110 section 7.2.

use serde::{Serialize, Serializer};
use std::fmt;
use std::sync::Arc;

/// A hostname of a listener: exact, a suffix of whole labels, or any. Lower case.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum VirtualHost {
    /// This one.
    Exact(Arc<str>),
    /// Those that end so, with at least one label before: `.example.com`.
    Suffix(Arc<str>),
    /// Every one.
    Any,
}

/// Longest host name (RFC 1035 section 2.3.4).
const LONGEST: usize = 253;

impl VirtualHost {
    /// Reads `*`, `*.<suffix>` or a name; `None`: it is none of them.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.to_ascii_lowercase();
        let fine = |name: &str| {
            let byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
            !name.is_empty() && name.len() <= LONGEST && name.bytes().all(byte)
        };
        match text.strip_prefix('*') {
            Some("") => Some(Self::Any),
            Some(suffix) => {
                (suffix.starts_with('.') && fine(&suffix[1..])).then(|| Self::Suffix(suffix.into()))
            }
            None => fine(&text).then(|| Self::Exact(text.into())),
        }
    }

    /// The virtual hosts that take an authority (`Host`, `:authority`; with or without port), the one
    /// that wins first.
    pub fn of_authority(authority: &str) -> impl Iterator<Item = Self> {
        let host = without_port(authority).to_ascii_lowercase();
        let exact = std::iter::once(Self::Exact(host.as_str().into()));
        // What is too long to be a name is none; looking up its every part would be a client's game.
        let fits = host.len() <= LONGEST;
        let dots = host.match_indices('.').map(|(at, _)| at);
        let dots: Vec<usize> = dots.filter(|_| fits).collect();
        let suffixes = dots.into_iter().filter(|at| *at > 0).map(move |at| {
            let suffix = &host[at..];
            Self::Suffix(suffix.into())
        });
        exact.chain(suffixes).chain(std::iter::once(Self::Any))
    }
}

/// The name that an authority asks for, lower case and without its port, if it is one below `wildcard`
/// (`*.<suffix>`). Pure text: an address is below no wildcard.
pub fn host_below(wildcard: &str, authority: &str) -> Option<Arc<str>> {
    let suffix = wildcard.strip_prefix('*')?;
    let host = without_port(authority).to_ascii_lowercase();
    let prefix = host.strip_suffix(suffix)?;
    let label = |label: &str| {
        let byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
        (1..=63).contains(&label.len()) && label.bytes().all(byte)
    };
    let is_name = suffix.starts_with('.')
        && host.len() <= LONGEST
        && prefix.split('.').all(label)
        && host.parse::<std::net::Ipv4Addr>().is_err();
    is_name.then(|| host.as_str().into())
}

/// The host of an authority; an IPv6 address keeps its brackets.
fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !host.is_empty() => host,
        _ => authority,
    }
}

impl fmt::Display for VirtualHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(name) => f.write_str(name),
            Self::Suffix(suffix) => write!(f, "*{suffix}"),
            Self::Any => f.write_str("*"),
        }
    }
}

impl Serialize for VirtualHost {
    fn serialize<S: Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
        out.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exact_wins_over_the_longest_suffix_and_that_over_any() {
        let taken = |authority: &str| {
            let all = VirtualHost::of_authority(authority);
            all.map(|h| h.to_string()).collect::<Vec<_>>().join(" ")
        };
        let all = "a.b.example *.b.example *.example *";
        assert_eq!(taken("A.b.Example:8080"), all);
        assert_eq!(taken("a.b.example"), all);
        assert_eq!(taken("localhost"), "localhost *");
        assert_eq!(taken("10.0.0.1:80"), "10.0.0.1 *.0.0.1 *.0.1 *.1 *");
        assert_eq!(taken("[::1]:80"), "[::1] *");
        assert_eq!(taken(".x"), ".x *");
    }

    #[test]
    fn only_names_below_a_wildcard_are_taken() {
        let taken = |wildcard, authority| host_below(wildcard, authority).map(|h| h.to_string());
        let host = Some("a.b.example".to_owned());
        for wildcard in ["*.example", "*.b.example", "*.B.example"] {
            let expected = host.clone().filter(|_| !wildcard.contains('B'));
            assert_eq!(taken(wildcard, "A.b.Example:8080"), expected, "{wildcard}");
        }
        for (wildcard, authority) in [
            ("*.b.example", "b.example"),
            ("*.b.example", ".b.example"),
            ("*.b.example", "ab.example"),
            ("*.b.example", "a..b.example"),
            ("*.b.example", "a.b.example."),
            ("*.b.example", "a@x.b.example"),
            ("*.b.example", "a.b.example:80:80"),
            ("*.b.example", "*.b.example"),
            ("*.b.example", "[a.b.example"),
            ("*.1", "10.0.0.1"),
            ("b.example", "b.example"),
            ("*", "a.b"),
        ] {
            assert_eq!(taken(wildcard, authority), None, "{wildcard} {authority}");
        }
        let long = format!("{}.example", "a.".repeat(130).trim_end_matches('.'));
        assert_eq!(taken("*.example", &long), None);
    }

    #[test]
    fn what_is_no_hostname_is_refused() {
        for good in ["*", "*.example.com", "example.com", "a-b"] {
            assert_eq!(VirtualHost::parse(good).unwrap().to_string(), good);
        }
        for bad in ["", "*example.com", "a b", "a/b", "*.", "a.*.b"] {
            assert_eq!(VirtualHost::parse(bad), None, "{bad}");
        }
    }
}
