//! `istio_requests_total`, its three histograms with Envoy's bucket edges, and gRPC message counts.
//! In: [`RequestLabels`] and sizes once per request. Out: three counter and three
//! histogram families. Calls that are not gRPC have no messages and no message series.
//! Spec: Istio standard metrics, HTTP section; Envoy default histogram buckets.

use crate::labels::{Protocol, TrafficLabels, UNKNOWN, write_label};
use crate::series::{Cells, SeriesSet, WorkerSeries, ordered};
use ambit_api::metric_names as names;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, EncodeMetric, LabelSetEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Registry;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// Envoy's default bucket edges, used for milliseconds and for bytes.
pub const EDGES: [f64; 19] = [
    0.5,
    1.0,
    5.0,
    10.0,
    25.0,
    50.0,
    100.0,
    250.0,
    500.0,
    1000.0,
    2500.0,
    5000.0,
    10000.0,
    30000.0,
    60000.0,
    300_000.0,
    600_000.0,
    1_800_000.0,
    3_600_000.0,
];

/// The label set of one request.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RequestLabels {
    /// Shared with TCP.
    pub common: TrafficLabels,
    /// HTTP status; 0 means that there was no response.
    pub response_code: u16,
    /// `grpc-status`, for gRPC only.
    pub grpc_status: Option<u8>,
}

impl EncodeLabelSet for RequestLabels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        self.common.encode(encoder)?;
        write_label(encoder, "response_code", &self.response_code)?;
        match self.grpc_status {
            Some(status) => write_label(encoder, "grpc_response_status", &status),
            None => write_label(encoder, "grpc_response_status", &UNKNOWN),
        }
    }
}

/// What one request measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestSample {
    /// From the first byte of the request to the last of the response.
    pub duration: Duration,
    /// Body and headers of the request.
    pub request_bytes: u64,
    /// Body and headers of the response.
    pub response_bytes: u64,
    /// gRPC messages from the client.
    pub request_messages: u64,
    /// gRPC messages to the client.
    pub response_messages: u64,
}

/// Counters of one label set on one worker.
#[derive(Debug, Default)]
pub struct RequestCells {
    count: AtomicU64,
    request_messages: AtomicU64,
    response_messages: AtomicU64,
    duration_micros: Buckets,
    request_bytes: Buckets,
    response_bytes: Buckets,
}

impl RequestCells {
    /// Counts one finished request.
    pub fn observe(&self, sample: &RequestSample) {
        self.count.fetch_add(1, Relaxed);
        for (messages, seen) in [
            (&self.request_messages, sample.request_messages),
            (&self.response_messages, sample.response_messages),
        ] {
            messages.fetch_add(seen, Relaxed);
        }
        let micros = u64::try_from(sample.duration.as_micros()).unwrap_or(u64::MAX);
        self.duration_micros.observe(micros as f64 / 1000.0, micros);
        for (buckets, bytes) in [
            (&self.request_bytes, sample.request_bytes),
            (&self.response_bytes, sample.response_bytes),
        ] {
            buckets.observe(bytes as f64, bytes);
        }
    }
}

/// Counts per edge, the last one beyond all edges, and a sum in whole units.
#[derive(Debug, Default)]
struct Buckets {
    counts: [AtomicU64; EDGES.len() + 1],
    sum: AtomicU64,
}

impl Buckets {
    fn observe(&self, value: f64, exact: u64) {
        let bucket = EDGES.partition_point(|edge| *edge < value);
        self.counts[bucket].fetch_add(1, Relaxed);
        self.sum.fetch_add(exact, Relaxed);
    }
}

/// The values of one histogram at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistogramSum {
    counts: [u64; EDGES.len() + 1],
    sum: u64,
}

impl HistogramSum {
    fn add(&mut self, buckets: &Buckets) {
        for (sum, cell) in self.counts.iter_mut().zip(&buckets.counts) {
            *sum += cell.load(Relaxed);
        }
        self.sum = self.sum.wrapping_add(buckets.sum.load(Relaxed));
    }
}

/// The values of [`RequestCells`] at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "named as the metrics")]
pub struct RequestSum {
    pub count: u64,
    pub request_messages: u64,
    pub response_messages: u64,
    pub duration_micros: HistogramSum,
    pub request_bytes: HistogramSum,
    pub response_bytes: HistogramSum,
}

impl Cells for RequestCells {
    type Sum = RequestSum;

    fn add_to(&self, sum: &mut RequestSum) {
        sum.count += self.count.load(Relaxed);
        sum.request_messages += self.request_messages.load(Relaxed);
        sum.response_messages += self.response_messages.load(Relaxed);
        sum.duration_micros.add(&self.duration_micros);
        sum.request_bytes.add(&self.request_bytes);
        sum.response_bytes.add(&self.response_bytes);
    }
}

/// One worker's request series.
pub type RequestSeries = WorkerSeries<RequestLabels, RequestCells>;

/// All request series of the process.
#[derive(Clone, Debug)]
pub struct RequestMetrics {
    set: Arc<SeriesSet<RequestLabels, RequestCells>>,
}

impl RequestMetrics {
    /// Registers the four families; series leave after `idle` (normally [`crate::traffic::IDLE`]).
    pub fn register(registry: &mut Registry, idle: Duration) -> Self {
        let metrics = Self {
            set: SeriesSet::new(idle),
        };
        registry.register_collector(Box::new(metrics.clone()));
        metrics
    }

    /// The series of one more worker.
    pub fn worker(&self) -> RequestSeries {
        self.set.worker()
    }
}

impl Collector for RequestMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let series = ordered(self.set.collect(Instant::now(), |s| s.count), |l| {
            format!("{l:?}")
        });
        let help = "The total number of requests";
        let mut metric =
            encoder.encode_descriptor(names::REQUESTS, help, None, MetricType::Counter)?;
        for (labels, sum) in &series {
            ConstCounter::new(sum.count).encode(metric.encode_family(labels)?)?;
        }
        for (name, help, of) in MESSAGES {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            let grpc = series
                .iter()
                .filter(|(labels, _)| labels.common.protocol == Protocol::Grpc);
            for (labels, sum) in grpc {
                ConstCounter::new(of(sum)).encode(metric.encode_family(labels)?)?;
            }
        }
        for family in &HISTOGRAMS {
            let mut metric =
                encoder.encode_descriptor(family.name, family.help, None, MetricType::Histogram)?;
            for (labels, sum) in &series {
                let histogram = (family.of)(sum);
                let total = histogram.sum as f64 / family.per_unit;
                let edges = EDGES.iter().copied().chain([f64::INFINITY]);
                let buckets: Vec<_> = edges.zip(histogram.counts).collect();
                metric
                    .encode_family(labels)?
                    .encode_histogram::<NoLabelSet>(
                        total,
                        histogram.counts.iter().sum(),
                        &buckets,
                        None,
                    )?;
            }
        }
        Ok(())
    }
}

/// Name, help and value of a counter.
type CounterFamily = (&'static str, &'static str, fn(&RequestSum) -> u64);

const MESSAGES: [CounterFamily; 2] = [
    (
        "istio_request_messages",
        "The total number of gRPC messages sent by clients",
        |s| s.request_messages,
    ),
    (
        "istio_response_messages",
        "The total number of gRPC messages sent by servers",
        |s| s.response_messages,
    ),
];

struct HistogramFamily {
    name: &'static str,
    help: &'static str,
    per_unit: f64,
    of: fn(&RequestSum) -> &HistogramSum,
}

const HISTOGRAMS: [HistogramFamily; 3] = [
    HistogramFamily {
        name: names::REQUEST_DURATION,
        help: "Duration of requests in milliseconds",
        per_unit: 1000.0,
        of: |s| &s.duration_micros,
    },
    HistogramFamily {
        name: names::REQUEST_BYTES,
        help: "Size of requests in bytes",
        per_unit: 1.0,
        of: |s| &s.request_bytes,
    },
    HistogramFamily {
        name: names::RESPONSE_BYTES,
        help: "Size of responses in bytes",
        per_unit: 1.0,
        of: |s| &s.response_bytes,
    },
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::labels::Reporter;
    use prometheus_client::encoding::text::encode;

    #[test]
    fn golden_scrape() {
        let mut registry = Registry::default();
        let worker = RequestMetrics::register(&mut registry, crate::traffic::IDLE).worker();
        let labels = RequestLabels {
            common: TrafficLabels::tcp(Reporter::Waypoint),
            response_code: 200,
            grpc_status: None,
        };
        worker.resolve(&labels).observe(&RequestSample {
            duration: Duration::from_micros(1500),
            request_bytes: 100,
            response_bytes: 4_000_000,
            ..RequestSample::default()
        });
        let grpc = RequestLabels {
            common: TrafficLabels {
                protocol: Protocol::Grpc,
                ..TrafficLabels::tcp(Reporter::Waypoint)
            },
            response_code: 200,
            grpc_status: Some(0),
        };
        worker.resolve(&grpc).observe(&RequestSample {
            request_messages: 2,
            response_messages: 7,
            ..RequestSample::default()
        });
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        let ends = |start: &str, end: &str| {
            let found = text
                .lines()
                .any(|l| l.starts_with(start) && l.ends_with(end));
            assert!(found, "no line {start}…{end}");
        };
        ends("# TYPE istio_requests counter", "counter");
        ends(
            "# TYPE istio_request_duration_milliseconds histogram",
            "histogram",
        );
        let tail = "response_code=\"200\",grpc_response_status=\"unknown\"} 1";
        ends("istio_requests_total{reporter=\"waypoint\",", tail);
        ends("istio_request_duration_milliseconds_sum{", "} 1.5");
        ends(
            "istio_request_duration_milliseconds_bucket{le=\"1.0\",",
            "} 0",
        );
        ends(
            "istio_request_duration_milliseconds_bucket{le=\"5.0\",",
            "} 1",
        );
        ends("istio_request_bytes_bucket{le=\"100.0\",", "} 1");
        ends("istio_response_bytes_bucket{le=\"3600000.0\",", "} 0");
        ends("istio_response_bytes_bucket{le=\"+Inf\",", "} 1");
        ends("istio_response_bytes_count{", "} 1");
        ends("istio_request_messages_total{", "} 2");
        ends("istio_response_messages_total{", "} 7");
        assert_eq!(text.matches("istio_request_messages_total{").count(), 1);
    }
}
