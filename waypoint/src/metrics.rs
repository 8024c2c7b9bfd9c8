//! Metrics of the waypoint: Istio's request and TCP series, one shard per worker.
//! In: the registry. Out: [`Metrics`], from which each worker takes its [`Series`].

mod xds;

use ambit_runtime::build_info;
use ambit_telemetry::process;
use ambit_telemetry::requests::{RequestMetrics, RequestSeries};
use ambit_telemetry::traffic::{IDLE, TrafficMetrics, TrafficSeries};
use ambit_xds::io::client::ClientCounters;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use std::sync::Arc;
use xds::XdsMetrics;

/// Collectors of the process.
#[derive(Clone, Debug)]
pub struct Metrics {
    requests: RequestMetrics,
    traffic: TrafficMetrics,
    mirrors_skipped: Counter,
    tunnels_refused: Counter,
    xds: XdsMetrics,
}

/// One worker's share.
#[derive(Debug)]
pub struct Series {
    /// L7.
    pub requests: RequestSeries,
    /// L4, for ports that carry bytes.
    pub traffic: TrafficSeries,
    /// Mirrors that were not sent.
    pub mirrors_skipped: Counter,
    /// Tunnels that did not come to be.
    pub tunnels_refused: Counter,
}

impl Metrics {
    /// Registers everything.
    pub fn register(registry: &mut Registry) -> Self {
        build_info::register(registry, "waypoint");
        process::register(registry);
        let mirrors_skipped = Counter::default();
        registry.register(
            "ambit_waypoint_mirrors_skipped",
            "Mirrored requests not sent: body too large or broken off, or too many in flight",
            mirrors_skipped.clone(),
        );
        let tunnels_refused = Counter::default();
        registry.register(
            "ambit_waypoint_tunnels_refused",
            "Connections to the HBONE port that failed before their first stream",
            tunnels_refused.clone(),
        );
        Self {
            requests: RequestMetrics::register(registry, IDLE),
            traffic: TrafficMetrics::register(registry, IDLE),
            mirrors_skipped,
            tunnels_refused,
            xds: XdsMetrics::register(registry),
        }
    }

    /// For the xDS client.
    pub fn xds(&self) -> Arc<ClientCounters> {
        self.xds.0.clone()
    }

    /// The series of one more worker.
    pub fn worker(&self) -> Series {
        Series {
            requests: self.requests.worker(),
            traffic: self.traffic.worker(),
            mirrors_skipped: self.mirrors_skipped.clone(),
            tunnels_refused: self.tunnels_refused.clone(),
        }
    }
}
