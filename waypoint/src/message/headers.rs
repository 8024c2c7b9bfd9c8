//! Headers every request and response passes through with.
//! In: received heads. Out: what may be forwarded: no hop-by-hop headers, an id for the logs. Trace headers pass
//! untouched. Who the client is says `filters::client_identity`.
//! Spec: RFC 9110 section 7.6.1; Envoy `x-request-id`, `x-forwarded-proto`.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use rand::Rng;

/// Correlates log lines; kept when the client sends one.
pub(crate) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The client's scheme.
pub(crate) const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// The path before a rewrite.
pub(crate) const X_ENVOY_ORIGINAL_PATH: HeaderName =
    HeaderName::from_static("x-envoy-original-path");
/// The client's address, as proxies before us wrote it.
pub(crate) const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// What proxies tell each other; nothing an application sends or sees.
const OF_PROXIES: [HeaderName; 4] = [
    HeaderName::from_static(ambit_api::headers::X_ISTIO_SOURCE),
    HeaderName::from_static(ambit_api::headers::X_FORWARDED_NETWORK),
    HeaderName::from_static("x-envoy-peer-metadata"),
    HeaderName::from_static("x-envoy-peer-metadata-id"),
];
/// gRPC status number.
pub(crate) const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// gRPC error text.
pub(crate) const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Removes what concerns only the connection it came on, and what only proxies say. `te: trailers` stays: gRPC needs it.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    let trailers = headers
        .get_all(header::TE)
        .iter()
        .any(|value| value.as_bytes().eq_ignore_ascii_case(b"trailers"));
    for name in named {
        headers.remove(name);
    }
    for name in OF_PROXIES {
        headers.remove(name);
    }
    for name in [
        header::CONNECTION,
        KEEP_ALIVE,
        PROXY_CONNECTION,
        HTTP2_SETTINGS,
        header::TRANSFER_ENCODING,
        header::UPGRADE,
        header::TE,
    ] {
        headers.remove(name);
    }
    if trailers {
        headers.insert(header::TE, HeaderValue::from_static("trailers"));
    }
}

/// Sets what the upstream may rely on.
pub(crate) fn stamp(headers: &mut HeaderMap, rng: &mut impl Rng) {
    // Answered here already, by whoever reads the body.
    headers.remove(header::EXPECT);
    if !headers.contains_key(&X_REQUEST_ID) {
        headers.insert(X_REQUEST_ID, request_id(rng));
    }
    if !headers.contains_key(&X_FORWARDED_PROTO) {
        headers.insert(X_FORWARDED_PROTO, HeaderValue::from_static("http"));
    }
}

/// A random UUID (RFC 9562, version 4).
fn request_id(rng: &mut impl Rng) -> HeaderValue {
    let bits = rng.random::<u128>() & !(0xf << 76) & !(0b11 << 62) | (0x4 << 76) | (0b10 << 62);
    let hex = format!("{bits:032x}");
    let id = [
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..],
    ]
    .join("-");
    HeaderValue::from_str(&id).expect("hexadecimal digits and hyphens are a header value")
}

/// Whether a head belongs to a gRPC call.
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).is_some_and(|value| {
        let value = value.as_bytes();
        value
            .strip_prefix(b"application/grpc")
            .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
    })
}

/// `grpc-status` of headers or trailers.
pub(crate) fn grpc_status(headers: &HeaderMap) -> Option<u8> {
    headers.get(GRPC_STATUS)?.to_str().ok()?.parse().ok()
}

/// Bytes of a header list, as RFC 9113 section 6.5.2 counts without the overhead.
pub(crate) fn size(headers: &HeaderMap) -> u64 {
    headers
        .iter()
        .map(|(name, value)| (name.as_str().len() + value.len()) as u64)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn headers_of_one_hop_stay_there() {
        let mut headers = map(&[
            ("connection", "keep-alive, X-Private"),
            ("x-private", "1"),
            ("keep-alive", "timeout=5"),
            ("transfer-encoding", "chunked"),
            ("te", "trailers"),
            ("x-istio-source", "waypoint"),
            ("x-envoy-peer-metadata", "1"),
            (
                "traceparent",
                "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            ),
            ("x-b3-traceid", "1"),
        ]);
        strip_hop_by_hop(&mut headers);
        let mut left: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["te", "traceparent", "x-b3-traceid"]);
        let mut other = map(&[("te", "gzip")]);
        strip_hop_by_hop(&mut other);
        assert!(other.is_empty());
    }

    #[test]
    fn a_client_may_name_its_request_and_who_does_not_gets_a_name() {
        let mut rng = StdRng::seed_from_u64(1);
        let mut headers = map(&[("x-request-id", "mine")]);
        stamp(&mut headers, &mut rng);
        assert_eq!(headers[X_REQUEST_ID], "mine");
        let mut fresh = HeaderMap::new();
        stamp(&mut fresh, &mut rng);
        let made = fresh[X_REQUEST_ID].to_str().unwrap().to_owned();
        assert_eq!((made.len(), &made[14..15]), (36, "4"), "{made}");
        assert!(matches!(&made[19..20], "8" | "9" | "a" | "b"), "{made}");
    }

    #[test]
    fn grpc_is_told_by_its_content_type() {
        for (value, expected) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc;x=1", true),
            ("application/grpc-web", false),
            ("application/json", false),
        ] {
            let headers =
                HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(value))]);
            assert_eq!(is_grpc(&headers), expected, "{value}");
        }
    }
}
