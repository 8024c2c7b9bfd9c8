//! Answers we give ourselves.
//! In: a failure, a fault, a redirect, a fixed answer. Out: a response; gRPC calls get a gRPC status
//! in a 200, as their clients expect.

use super::body::Body;
use super::headers;
use crate::outcome::{self, Said};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Response, StatusCode};

/// The answer for a failure.
pub(crate) fn failure(said: &Said, grpc: bool) -> Response<Body> {
    if grpc {
        return self::grpc(outcome::grpc_status(said.status), said.body);
    }
    text(said.status, said.body)
}

/// A text, or no body at all.
pub(crate) fn text(status: StatusCode, body: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::full(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    if !body.is_empty() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    }
    response
}

/// A gRPC status without messages.
pub(crate) fn grpc(status: u8, message: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    let map = response.headers_mut();
    map.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    map.insert(headers::GRPC_STATUS, HeaderValue::from(u16::from(status)));
    if !message.is_empty() {
        map.insert(headers::GRPC_MESSAGE, HeaderValue::from_static(message));
    }
    response
}
