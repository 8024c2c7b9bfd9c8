//! Metrics of what is asked of the API server besides objects: reviews of tokens, the Lease.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

/// What came of a token.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Reviewed {
    /// It counts.
    Accepted,
    /// It was reviewed a short while ago.
    Remembered,
    /// It does not count.
    Refused,
    /// The API server did not say.
    Failed,
    /// It did not say in time.
    Late,
}

/// Counters. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct ClusterMetrics {
    reviews: Family<ResultLabel, Counter>,
    review_seconds: Histogram,
    leads: Gauge,
    elections: Counter,
    /// Requests about the Lease that failed.
    pub(crate) lease_errors: Counter,
}

impl Default for ClusterMetrics {
    fn default() -> Self {
        Self {
            reviews: Family::default(),
            review_seconds: Histogram::new(exponential_buckets(0.001, 4.0, 8)),
            leads: Gauge::default(),
            elections: Counter::default(),
            lease_errors: Counter::default(),
        }
    }
}

impl ClusterMetrics {
    /// A token was judged; `took` is there when the API server was asked.
    pub(crate) fn reviewed(&self, how: Reviewed, took: Option<Duration>) {
        let result = match how {
            Reviewed::Accepted => "accepted",
            Reviewed::Remembered => "remembered",
            Reviewed::Refused => "refused",
            Reviewed::Failed => "failed",
            Reviewed::Late => "late",
        };
        self.reviews.get_or_create(&ResultLabel { result }).inc();
        if let Some(took) = took {
            self.review_seconds.observe(took.as_secs_f64());
        }
    }

    /// Leadership changed.
    pub(crate) fn leads(&self, leads: bool) {
        self.leads.set(i64::from(leads));
        if leads {
            self.elections.inc();
        }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register(
            "ambit_token_reviews",
            "Bearer tokens judged with the API server, by result",
            self.reviews.clone(),
        );
        registry.register(
            "ambit_token_review_duration_seconds",
            "Time the API server took to review a token",
            self.review_seconds.clone(),
        );
        registry.register(
            "ambit_leader",
            "1 while this replica writes",
            self.leads.clone(),
        );
        registry.register(
            "ambit_leader_elections",
            "Times this replica became the one that writes",
            self.elections.clone(),
        );
        registry.register(
            "ambit_lease_errors",
            "Requests about the Lease that failed",
            self.lease_errors.clone(),
        );
    }
}
