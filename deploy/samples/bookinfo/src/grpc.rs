//! gRPC as it is on the wire: HTTP/2 with prior knowledge, length-prefixed messages, status in trailers.
//! Messages are bytes nobody decodes here, so that what is on the way shows: they come back as they were sent.
//! Spec: gRPC over HTTP/2.

mod call;
mod serve;

pub(crate) use call::{Args as CallArgs, run};
pub(crate) use serve::{Args as ServeArgs, serve};

use bytes::Bytes;
use http::HeaderName;

/// Content type of every message.
const CONTENT_TYPE: &str = "application/grpc";
/// Trailer with the outcome; 0 is success.
const STATUS: HeaderName = HeaderName::from_static("grpc-status");
/// How messages are compressed.
const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
/// A call with this header ends with this status.
const FAIL: HeaderName = HeaderName::from_static("x-fail");

/// One message with its prefix.
fn framed(message: &[u8], compressed: bool) -> Bytes {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let prefix = [&[u8::from(compressed)][..], &length.to_be_bytes()].concat();
    [&prefix, message].concat().into()
}
