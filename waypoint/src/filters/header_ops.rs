//! Header operations of the route, then those of the destination.

use crate::message::line::Line;
use ambit_model::route::{HttpRoute, WeightedCluster};
use ambit_routing::http::header_ops::apply;
use http::HeaderMap;

/// On the way to the upstream.
pub(crate) fn request(
    route: &HttpRoute,
    cluster: &WeightedCluster,
    line: &mut Line,
    headers: &mut HeaderMap,
) {
    for ops in [&route.request_headers, &cluster.request_headers] {
        apply(ops, headers);
        line.apply(ops);
    }
}

/// On the way back.
pub(crate) fn response(
    route: &HttpRoute,
    cluster: Option<&WeightedCluster>,
    headers: &mut HeaderMap,
) {
    if let Some(cluster) = cluster {
        apply(&cluster.response_headers, headers);
    }
    apply(&route.response_headers, headers);
}
