//! Everything this process counts, registered once.
//! In: a registry. Out: handles for the parts. Names: `ambit_api::metric_names`; names of our own
//! begin with `ambit_`.

pub mod xds;

use ambit_api::metric_names as names;
use ambit_telemetry::sink::Sink;
use ambit_telemetry::traffic::{self, TrafficMetrics};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::sync::Arc;

/// Handles of all metrics.
#[derive(Clone, Debug)]
pub struct Metrics {
    /// `istio_tcp_*`.
    pub traffic: TrafficMetrics,
    /// `istio_tcp_sockets_open{reporter}`.
    pub sockets: Family<ReporterLabel, Gauge>,
    /// `ambit_connections_refused_total{direction,reason}`: connections that were never joined.
    pub refused: Family<RefusedLabels, Counter>,
    /// `ambit_xds_resources_refused_total`: resources of the control plane that cannot be used.
    pub xds_refused: Counter,
    /// `istio_dns_*`.
    pub dns: DnsMetrics,
    /// `workload_manager_*`.
    pub pods: PodMetrics,
}

/// `reporter`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct ReporterLabel {
    /// `source` or `destination`.
    pub reporter: &'static str,
}

/// Why and which way.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RefusedLabels {
    /// `outbound` or `inbound`.
    pub direction: &'static str,
    /// A word, as in `x-ambit-reason`.
    pub reason: &'static str,
}

/// `istio_dns_*`.
#[derive(Clone, Debug)]
pub struct DnsMetrics {
    /// Queries.
    pub requests: Family<DnsLabels, Counter>,
    /// Queries passed on.
    pub upstream: Family<DnsLabels, Counter>,
    /// Of those, without an answer.
    pub failures: Family<DnsLabels, Counter>,
    /// How long answers took, seconds.
    pub duration: Family<DnsLabels, Histogram, fn() -> Histogram>,
    /// Connections whose endpoint had to be resolved by name.
    pub on_demand: Family<OnDemandLabels, Counter>,
    /// Queries dropped because too many were in progress.
    pub dropped: Counter,
}

/// Labels of `istio_on_demand_dns_total`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OnDemandLabels {
    /// The name.
    pub hostname: Arc<str>,
    /// Of the pod that connects.
    pub source_canonical_service: Arc<str>,
    /// Of the pod that connects.
    pub source_canonical_revision: Arc<str>,
}

/// Labels of the DNS metrics.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DnsLabels {
    /// `A`, `AAAA`, ….
    pub request_query_type: String,
    /// `udp` or `tcp`.
    pub request_protocol: &'static str,
    /// Of the pod that asks.
    pub source_canonical_service: Arc<str>,
    /// Of the pod that asks.
    pub source_canonical_revision: Arc<str>,
}

/// `workload_manager_*`.
#[derive(Clone, Debug, Default)]
pub struct PodMetrics {
    /// Pods served.
    pub active: Gauge,
    /// Pods that cannot be served yet.
    pub pending: Gauge,
    /// Since start.
    pub started: Counter,
    /// Since start.
    pub stopped: Counter,
}

impl Metrics {
    /// Registers everything.
    pub fn register(registry: &mut Registry, log: Sink) -> Self {
        let metrics = Self {
            traffic: TrafficMetrics::register(registry, traffic::IDLE),
            sockets: Family::default(),
            refused: Family::default(),
            xds_refused: Counter::default(),
            dns: DnsMetrics::register(registry),
            pods: PodMetrics::default(),
        };
        for (name, help, gauge) in [
            (names::ACTIVE_PROXIES, "Pods served", &metrics.pods.active),
            (
                names::PENDING_PROXIES,
                "Pods waiting to be served",
                &metrics.pods.pending,
            ),
        ] {
            registry.register(name, help, gauge.clone());
        }
        for (name, help, counter) in [
            (
                names::PROXIES_STARTED,
                "Pods served since start",
                &metrics.pods.started,
            ),
            (
                names::PROXIES_STOPPED,
                "Pods no longer served",
                &metrics.pods.stopped,
            ),
        ] {
            registry.register(name, help, counter.clone());
        }
        registry.register(
            names::TCP_SOCKETS,
            "Open TCP sockets",
            metrics.sockets.clone(),
        );
        let help = "Connections refused before they were joined, by reason";
        registry.register("ambit_connections_refused", help, metrics.refused.clone());
        let help = "Resources of the control plane that cannot be used";
        registry.register(
            "ambit_xds_resources_refused",
            help,
            metrics.xds_refused.clone(),
        );
        registry.register_collector(Box::new(Dropped(log)));
        ambit_telemetry::process::register(registry);
        ambit_runtime::build_info::register(registry, "ztunnel");
        metrics
    }
}

impl DnsMetrics {
    fn register(registry: &mut Registry) -> Self {
        let edges = || Histogram::new([0.0005, 0.001, 0.01, 0.1, 1.0, 5.0]);
        let dns = Self {
            requests: Family::default(),
            upstream: Family::default(),
            failures: Family::default(),
            duration: Family::new_with_constructor(edges as fn() -> Histogram),
            on_demand: Family::default(),
            dropped: Counter::default(),
        };
        let help = "Connections whose endpoint was resolved by name";
        registry.register("istio_on_demand_dns", help, dns.on_demand.clone());
        registry.register(names::DNS_REQUESTS, "DNS requests", dns.requests.clone());
        let help = "DNS requests forwarded to upstream";
        registry.register(names::DNS_UPSTREAM_REQUESTS, help, dns.upstream.clone());
        let help = "DNS requests upstream did not answer";
        registry.register(names::DNS_UPSTREAM_FAILURES, help, dns.failures.clone());
        let help = "Time upstream took to answer in seconds";
        registry.register(
            "istio_dns_upstream_request_duration_seconds",
            help,
            dns.duration.clone(),
        );
        let help = "DNS requests dropped because too many were in progress";
        registry.register("ambit_dns_dropped", help, dns.dropped.clone());
        dns
    }
}

/// A gauge that goes up by one as long as it lives.
#[derive(Debug)]
pub struct Held(Gauge);

impl Held {
    /// Counts one more.
    pub fn of(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Log lines that found the queue full.
#[derive(Debug)]
struct Dropped(Sink);

impl Collector for Dropped {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let help = "Log lines dropped because the output did not keep up";
        let metric =
            encoder.encode_descriptor("ambit_log_dropped", help, None, MetricType::Counter)?;
        ConstCounter::new(self.0.dropped()).encode(metric)
    }
}
