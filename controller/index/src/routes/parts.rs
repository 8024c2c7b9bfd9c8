//! Pieces of routes that both route languages share.

use ambit_api::route as pb;
use std::time::Duration;

/// Share of all, in millionths.
pub(crate) const ALL: u32 = 1_000_000;

/// Whole milliseconds; a shorter one that is not zero counts as one.
pub(crate) fn millis(duration: Duration) -> u64 {
    let whole = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if whole == 0 && !duration.is_zero() {
        1
    } else {
        whole
    }
}

/// The mesh's retry policy where a route names none.
pub(crate) fn default_retry() -> pb::Retry {
    pb::Retry {
        attempts: 2,
        on: default_conditions().iter().map(|on| (*on).into()).collect(),
        ..Default::default()
    }
}

/// Failures that are retried where a policy names none: those at which the request was not served.
pub(crate) fn default_conditions() -> [pb::RetryOn; 5] {
    [
        pb::RetryOn::ConnectFailure,
        pb::RetryOn::RefusedStream,
        pb::RetryOn::Unavailable,
        pb::RetryOn::Cancelled,
        pb::RetryOn::RetriableStatusCodes,
    ]
}

/// The route of a service that has none.
pub(crate) fn default_route(clusters: Vec<pb::WeightedCluster>) -> pb::HttpRoute {
    pb::HttpRoute {
        name: "default".to_owned(),
        source: "default".to_owned(),
        action: Some(pb::http_route::Action::Forward(pb::Forward { clusters })),
        retry: Some(default_retry()),
        ..Default::default()
    }
}

pub(crate) fn string(kind: pb::string_match::Kind) -> pb::StringMatch {
    pb::StringMatch { kind: Some(kind) }
}
