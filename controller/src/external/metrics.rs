//! Metrics of an authority outside.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::time::Instant;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// Counters. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct ExternalMetrics {
    signed: Counter,
    failures: Family<Reason, Counter>,
    in_flight: Gauge,
    seconds: Histogram,
}

impl Default for ExternalMetrics {
    fn default() -> Self {
        Self {
            signed: Counter::default(),
            failures: Family::default(),
            in_flight: Gauge::default(),
            seconds: Histogram::new(exponential_buckets(0.01, 3.0, 9)),
        }
    }
}

/// A request on its way. However it ends, it is one no more.
pub(crate) struct Begun {
    metrics: ExternalMetrics,
    at: Instant,
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.metrics.in_flight.dec();
    }
}

impl Begun {
    /// Its end: why there is no certificate, or `None`.
    pub(crate) fn ended(self, reason: Option<&'static str>) {
        match reason {
            None => {
                self.metrics.signed.inc();
                self.metrics
                    .seconds
                    .observe(self.at.elapsed().as_secs_f64());
            }
            Some(reason) => self.metrics.refused(reason),
        }
    }
}

impl ExternalMetrics {
    /// A request is on its way.
    pub(crate) fn begun(&self) -> Begun {
        self.in_flight.inc();
        Begun {
            metrics: self.clone(),
            at: Instant::now(),
        }
    }

    /// There is no certificate.
    pub(crate) fn refused(&self, reason: &'static str) {
        self.failures.get_or_create(&Reason { reason }).inc();
    }

    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "ambit_external_ca_signed",
            "Certificates that signers outside have signed",
            self.signed.clone(),
        );
        registry.register(
            "ambit_external_ca_failures",
            "Requests to signers outside without a certificate, by reason",
            self.failures.clone(),
        );
        registry.register(
            "ambit_external_ca_in_flight",
            "Requests that signers outside have now",
            self.in_flight.clone(),
        );
        registry.register(
            "ambit_external_ca_duration_seconds",
            "Time signers outside took",
            self.seconds.clone(),
        );
    }
}
