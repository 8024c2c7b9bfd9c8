//! HTTP of one CONNECT stream or plaintext connection: requests in, responses out.
//! In: bytes of a stream that speak HTTP/1.1 or HTTP/2. Out: exactly one `record::Record` per request.
//! Reads: the view, per request. Never here: which endpoint, how it is reached (`upstream`).
//! Spec: RFC 9110, RFC 9112, RFC 9113.

pub(crate) mod broken;
mod exchange;
mod forward;
pub(crate) mod opening;
pub(crate) mod server;
pub(crate) mod sniff;
mod upgrade;
