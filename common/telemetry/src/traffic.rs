//! `istio_tcp_*`: connections and bytes per label set.
//! In: [`TrafficLabels`] once per connection, then relaxed additions. Out: five counter families.
//! `received` is client to server, `sent` server to client, whoever reports (Kiali's arrows).
//! Spec: Istio standard metrics, TCP section.

use crate::labels::TrafficLabels;
use crate::series::{Cells, SeriesSet, WorkerSeries, ordered};
use ambit_api::metric_names as names;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Registry;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How long a series nobody counts on stays in the scrape.
pub const IDLE: Duration = Duration::from_secs(15 * 60);

/// Counters of one label set on one worker.
#[derive(Debug, Default)]
pub struct TrafficCells {
    opened: AtomicU64,
    closed: AtomicU64,
    failed: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
}

impl TrafficCells {
    /// A connection is established.
    pub fn opened(&self) {
        self.opened.fetch_add(1, Relaxed);
    }

    /// It has ended.
    pub fn closed(&self) {
        self.closed.fetch_add(1, Relaxed);
    }

    /// It failed, or never came to be.
    pub fn failed(&self) {
        self.failed.fetch_add(1, Relaxed);
    }

    /// Bytes from server to client.
    pub fn sent(&self, bytes: u64) {
        self.sent.fetch_add(bytes, Relaxed);
    }

    /// Bytes from client to server.
    pub fn received(&self, bytes: u64) {
        self.received.fetch_add(bytes, Relaxed);
    }
}

/// The values of [`TrafficCells`] at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "named as the counters")]
pub struct TrafficSum {
    pub opened: u64,
    pub closed: u64,
    pub failed: u64,
    pub sent: u64,
    pub received: u64,
}

impl Cells for TrafficCells {
    type Sum = TrafficSum;

    fn add_to(&self, sum: &mut TrafficSum) {
        sum.opened += self.opened.load(Relaxed);
        sum.closed += self.closed.load(Relaxed);
        sum.failed += self.failed.load(Relaxed);
        sum.sent += self.sent.load(Relaxed);
        sum.received += self.received.load(Relaxed);
    }
}

/// One worker's traffic series.
pub type TrafficSeries = WorkerSeries<TrafficLabels, TrafficCells>;

/// All traffic series of the process.
#[derive(Clone, Debug)]
pub struct TrafficMetrics {
    set: Arc<SeriesSet<TrafficLabels, TrafficCells>>,
}

impl TrafficMetrics {
    /// Registers the five families; series leave after `idle` (normally [`IDLE`]).
    pub fn register(registry: &mut Registry, idle: Duration) -> Self {
        let metrics = Self {
            set: SeriesSet::new(idle),
        };
        registry.register_collector(Box::new(metrics.clone()));
        metrics
    }

    /// The series of one more worker.
    pub fn worker(&self) -> TrafficSeries {
        self.set.worker()
    }
}

impl Collector for TrafficMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let total = |s: &TrafficSum| {
            s.opened
                .wrapping_add(s.closed)
                .wrapping_add(s.failed)
                .wrapping_add(s.sent)
                .wrapping_add(s.received)
        };
        let series = ordered(self.set.collect(Instant::now(), total), |l| {
            format!("{l:?}")
        });
        for family in &FAMILIES {
            let mut metric =
                encoder.encode_descriptor(family.name, family.help, None, MetricType::Counter)?;
            for (labels, sum) in &series {
                let value = ConstCounter::new((family.value)(sum));
                value.encode(metric.encode_family(labels)?)?;
            }
        }
        Ok(())
    }
}

struct TrafficFamily {
    name: &'static str,
    help: &'static str,
    value: fn(&TrafficSum) -> u64,
}

const FAMILIES: [TrafficFamily; 5] = [
    TrafficFamily {
        name: names::TCP_OPENED,
        help: "The total number of TCP connections opened",
        value: |s| s.opened,
    },
    TrafficFamily {
        name: names::TCP_CLOSED,
        help: "The total number of TCP connections closed",
        value: |s| s.closed,
    },
    TrafficFamily {
        name: names::TCP_RECEIVED,
        help: "The size of total bytes received during request in case of a TCP connection",
        value: |s| s.received,
    },
    TrafficFamily {
        name: names::TCP_SENT,
        help: "The size of total bytes sent during response in case of a TCP connection",
        value: |s| s.sent,
    },
    TrafficFamily {
        name: names::TCP_FAILED,
        help: "The total number of TCP connections that failed to be established or were cut",
        value: |s| s.failed,
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::{Peer, Reporter, SecurityPolicy};
    use ambit_model::ids::SpiffeId;
    use prometheus_client::encoding::text::encode;

    /// Names, types, labels and their order: Istio standard metrics plus the ztunnel additions.
    #[test]
    fn golden_scrape() {
        let mut registry = Registry::default();
        let metrics = TrafficMetrics::register(&mut registry, IDLE);
        let worker = metrics.worker();
        let mut labels = TrafficLabels::tcp(Reporter::Source);
        labels.source = Peer {
            workload: "client".into(),
            namespace: "shop".into(),
            canonical_service: "client".into(),
            canonical_revision: "v1".into(),
            principal: Some(SpiffeId::new("cluster.local", "shop", "client")),
            cluster: "Kubernetes".into(),
            region: "north".into(),
            zone: "".into(),
        };
        labels.security = SecurityPolicy::MutualTls;
        let cells = worker.resolve(&labels);
        cells.opened();
        cells.received(10);
        cells.sent(20);
        cells.closed();
        let denied = worker.resolve(&TrafficLabels::tcp(Reporter::Destination).with_flags("DENY"));
        denied.opened();
        denied.closed();
        denied.failed();
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let a = "reporter=\"source\",source_workload=\"client\",\
            source_canonical_service=\"client\",source_canonical_revision=\"v1\",\
            source_workload_namespace=\"shop\",\
            source_principal=\"spiffe://cluster.local/ns/shop/sa/client\",source_app=\"client\",\
            source_version=\"v1\",source_cluster=\"Kubernetes\",source_region=\"north\",\
            destination_service=\"unknown\",destination_service_namespace=\"unknown\",\
            destination_service_name=\"unknown\",destination_workload=\"unknown\",\
            destination_canonical_service=\"unknown\",destination_canonical_revision=\"unknown\",\
            destination_workload_namespace=\"unknown\",destination_principal=\"unknown\",\
            destination_app=\"unknown\",destination_version=\"unknown\",\
            destination_cluster=\"unknown\",request_protocol=\"tcp\",response_flags=\"-\",\
            connection_security_policy=\"mutual_tls\"";
        for line in [
            "# TYPE istio_tcp_connections_opened counter".to_owned(),
            "# TYPE istio_tcp_connections_closed counter".to_owned(),
            "# TYPE istio_tcp_received_bytes counter".to_owned(),
            "# TYPE istio_tcp_sent_bytes counter".to_owned(),
            "# TYPE istio_tcp_connections_failed counter".to_owned(),
            format!("istio_tcp_connections_opened_total{{{a}}} 1"),
            format!("istio_tcp_connections_closed_total{{{a}}} 1"),
            format!("istio_tcp_received_bytes_total{{{a}}} 10"),
            format!("istio_tcp_sent_bytes_total{{{a}}} 20"),
            format!("istio_tcp_connections_failed_total{{{a}}} 0"),
        ] {
            assert!(
                text.lines().any(|l| l == line),
                "no line {line}\nin\n{text}"
            );
        }
        let deny = text
            .lines()
            .filter(|l| l.contains("response_flags=\"DENY\""));
        let values: Vec<_> = deny.map(|l| l.rsplit(' ').next().unwrap()).collect();
        assert_eq!(values, ["1", "1", "0", "0", "1"]);
    }
}
