//! `istio_xds_*`: what the xDS client counts, read at scrape.

use ambit_api::metric_names as names;
use ambit_xds::io::client::ClientCounters;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::registry::Registry;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, PoisonError};

/// The collector of the client's counters.
#[derive(Clone, Debug)]
pub struct XdsMetrics(Arc<ClientCounters>);

impl XdsMetrics {
    /// Registers the three families.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Self(Arc::default());
        registry.register_collector(Box::new(metrics.clone()));
        metrics
    }

    /// For the client.
    pub fn counters(&self) -> Arc<ClientCounters> {
        self.0.clone()
    }
}

impl Collector for XdsMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let counters = &*self.0;
        let copy = |map: &Mutex<BTreeMap<String, u64>>| {
            map.lock().unwrap_or_else(PoisonError::into_inner).clone()
        };
        let terminations = [
            ("ConnectionError", counters.connection_errors.load(Relaxed)),
            ("Error", counters.stream_errors.load(Relaxed)),
            ("Complete", counters.completed.load(Relaxed)),
        ];
        let terminations = terminations
            .map(|(reason, count)| (reason.to_owned(), count))
            .into();
        let families = [
            (
                names::XDS_MESSAGES,
                "xDS messages received",
                "url",
                copy(&counters.messages),
            ),
            (
                names::XDS_MESSAGE_BYTES,
                "xDS bytes received",
                "url",
                copy(&counters.bytes),
            ),
            (
                names::XDS_TERMINATIONS,
                "xDS streams that ended",
                "reason",
                terminations,
            ),
        ];
        for (name, help, label, values) in families {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (value, count) in values {
                let labels = [(label, value.as_str())];
                ConstCounter::new(count).encode(metric.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
