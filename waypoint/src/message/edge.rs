//! What a gateway at the edge writes into requests, and what it does not believe.
//! In: a head from outside the mesh, its sender's address. Out: the head as inner hops may trust it: no
//! proxy before us is trusted.
//! Spec: Istio `numTrustedProxies: 0`; Envoy `use_remote_address`, `x-forwarded-for`,
//! `x-envoy-external-address`, `x-request-id`.

use super::headers::{X_FORWARDED_FOR, X_FORWARDED_PROTO, X_REQUEST_ID};
use http::header::{HeaderMap, HeaderName, HeaderValue};
use std::net::IpAddr;

/// The trusted address of a client that is not of a private network.
const EXTERNAL: HeaderName = HeaderName::from_static("x-envoy-external-address");
/// Instructions to proxies: nothing that a client may give.
const INSTRUCTIONS: &str = "x-envoy-";

/// Appends the client's address, says how it came, and takes away what only proxies may say.
pub(crate) fn mark(headers: &mut HeaderMap, client: IpAddr) {
    let forged: Vec<HeaderName> = headers
        .keys()
        .filter(|name| name.as_str().starts_with(INSTRUCTIONS))
        .cloned()
        .collect();
    for name in forged {
        headers.remove(name);
    }
    let address = value(&client.to_string());
    let mut chain: Vec<u8> = Vec::new();
    for before in headers.get_all(&X_FORWARDED_FOR) {
        chain.extend_from_slice(before.as_bytes());
        chain.extend_from_slice(b",");
    }
    chain.extend_from_slice(address.as_bytes());
    // Values of headers, joined by commas, are one.
    let chain = HeaderValue::from_bytes(&chain).unwrap_or_else(|_| address.clone());
    headers.insert(X_FORWARDED_FOR, chain);
    headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("http"));
    if !is_internal(client) {
        headers.insert(EXTERNAL, address);
        // An id from the internet correlates nothing of ours.
        headers.remove(X_REQUEST_ID);
    }
}

fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).expect("an address has only visible characters")
}

/// Private, loopback or link-local (RFC 1918, RFC 4193, RFC 3927).
fn is_internal(client: IpAddr) -> bool {
    match client {
        IpAddr::V4(ip) => ip.is_private() || ip.is_loopback() || ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unique_local() || ip.is_loopback() || ip.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn the_client_is_appended_and_its_instructions_are_not_believed() {
        let sent = [
            ("x-forwarded-for", "1.1.1.1"),
            ("x-forwarded-for", "2.2.2.2, 3.3.3.3"),
            ("x-forwarded-proto", "https"),
            ("x-envoy-external-address", "9.9.9.9"),
            ("x-envoy-retry-on", "5xx"),
            ("x-request-id", "mine"),
        ];
        let mut inside = map(&sent);
        mark(&mut inside, "10.1.2.3".parse().unwrap());
        assert_eq!(
            inside["x-forwarded-for"],
            "1.1.1.1,2.2.2.2, 3.3.3.3,10.1.2.3"
        );
        assert_eq!(inside["x-forwarded-proto"], "http");
        assert_eq!(inside["x-request-id"], "mine");
        assert_eq!(inside.len(), 3, "{inside:?}");

        let mut public = map(&sent);
        mark(&mut public, "2001:db8::1".parse().unwrap());
        assert_eq!(public["x-envoy-external-address"], "2001:db8::1");
        assert!(!public.contains_key("x-request-id"));
        let mut first = HeaderMap::new();
        mark(&mut first, "198.51.100.7".parse().unwrap());
        assert_eq!(first["x-forwarded-for"], "198.51.100.7");
    }
}
