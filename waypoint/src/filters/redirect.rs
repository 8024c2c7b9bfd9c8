//! Redirects: an answer with another place.

use crate::message::body::Body;
use crate::message::line::Line;
use crate::message::reply;
use crate::outcome::NO_FLAGS;
use crate::record::Record;
use ambit_model::route::Redirect;
use ambit_routing::http::matching::PathMatched;
use ambit_routing::http::redirect::location;
use http::header::LOCATION;
use http::{HeaderMap, HeaderValue, Response};

/// The answer.
pub(crate) fn answer(
    record: &Record,
    redirect: &Redirect,
    matched: PathMatched,
    (line, headers): (&Line, &HeaderMap),
) -> Response<Body> {
    let to = location(
        redirect,
        matched,
        &line.view(headers),
        record.downstream.local.port(),
    );
    let mut response = reply::text(redirect.status, "");
    // What was received or checked at conversion is visible ASCII; anything else names no place.
    if let Ok(to) = HeaderValue::from_str(&to) {
        response.headers_mut().insert(LOCATION, to);
    }
    record.say(NO_FLAGS, "direct_response");
    response
}
