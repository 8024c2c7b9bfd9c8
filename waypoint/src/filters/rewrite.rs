//! Rewrites of path and authority.

use crate::message::headers::X_ENVOY_ORIGINAL_PATH;
use crate::message::line::Line;
use ambit_model::route::Rewrite;
use ambit_routing::http::matching::PathMatched;
use ambit_routing::http::rewrite::path_and_query;
use http::{HeaderMap, HeaderValue};

/// Applies `rewrite`; the path before it is kept in `x-envoy-original-path`.
pub(crate) fn apply(
    rewrite: &Rewrite,
    matched: PathMatched,
    line: &mut Line,
    headers: &mut HeaderMap,
) {
    if let Some(authority) = &rewrite.authority {
        authority.as_str().clone_into(&mut line.authority);
    }
    let Some(path) = &rewrite.path else { return };
    let new = path_and_query(path, matched, line.target.path(), line.target.query());
    // A replacement may hold what no path may; the request then goes on with the path it came with.
    let Ok(new) = new.parse() else { return };
    if let Ok(old) = HeaderValue::from_str(line.target.as_str()) {
        headers.insert(X_ENVOY_ORIGINAL_PATH, old);
    }
    line.target = new;
}
