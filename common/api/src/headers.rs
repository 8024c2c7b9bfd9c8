//! HTTP headers on CONNECT streams and requests.

/// Facts about the sender's (request) or receiver's (response) workload.
pub const BAGGAGE: &str = "baggage";
/// `for="srcip:port"`, `;host=<service>` if a service was addressed (RFC 7239).
pub const FORWARDED: &str = "forwarded";
/// W3C trace context.
pub const TRACEPARENT: &str = "traceparent";
/// Sender's network on the inner CONNECT of double HBONE.
pub const X_FORWARDED_NETWORK: &str = "x-forwarded-network";
/// Kind of proxy a request came through.
pub const X_ISTIO_SOURCE: &str = "x-istio-source";
/// Why the peer refused a CONNECT, beside the status code: `deny`, `connect`, `not-ready`, ….
pub const X_AMBIT_REASON: &str = "x-ambit-reason";
