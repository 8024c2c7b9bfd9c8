//! Fixed answers.

use crate::message::body::Body;
use crate::outcome::NO_FLAGS;
use crate::record::Record;
use ambit_model::route::DirectResponse;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderValue, Response};

/// The answer.
pub(crate) fn answer(record: &Record, fixed: &DirectResponse) -> Response<Body> {
    let body = Bytes::from_owner(fixed.body.clone());
    let mut response = Response::new(Body::full(body));
    *response.status_mut() = fixed.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_LENGTH, HeaderValue::from(fixed.body.len()));
    if !fixed.body.is_empty() {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    }
    record.say(NO_FLAGS, "direct_response");
    response
}
