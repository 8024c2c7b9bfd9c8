//! Specificity of matches (Gateway API `HTTPRouteRule.matches`).

use ambit_api::route as pb;
use ambit_crds::gateway::{PathMatchType, RouteMatch};
use std::cmp::Reverse;

/// Sorts more specific first; ties keep their order.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Weight(Reverse<(u8, usize, bool, usize, usize)>);

impl Weight {
    pub(super) fn of(m: &RouteMatch) -> Self {
        let (kind, length) = match &m.path {
            None => (0, 1),
            Some(path) => {
                let length = path.value.as_ref().map_or(1, String::len);
                match path.kind {
                    PathMatchType::Exact => (2, 0),
                    // Its place is up to implementations: between exact and prefix.
                    PathMatchType::RegularExpression => (1, length),
                    PathMatchType::PathPrefix => (0, length),
                }
            }
        };
        Self(Reverse((
            kind,
            length,
            m.method.is_some(),
            m.headers.len(),
            m.query_params.len(),
        )))
    }
}

/// Stable: older objects and earlier rules stay ahead.
pub(super) fn sort(routes: &mut [(Weight, pb::HttpRoute)]) {
    routes.sort_by(|(a, _), (b, _)| a.cmp(b));
}
