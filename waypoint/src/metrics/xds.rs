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
pub(super) struct XdsMetrics(pub(super) Arc<ClientCounters>);

impl XdsMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self(Arc::default());
        registry.register_collector(Box::new(metrics.clone()));
        metrics
    }
}

impl Collector for XdsMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let by_url = |map: &Mutex<BTreeMap<String, u64>>| {
            map.lock().unwrap_or_else(PoisonError::into_inner).clone()
        };
        let ends = BTreeMap::from([
            ("Complete".to_owned(), self.0.completed.load(Relaxed)),
            (
                "ConnectionError".to_owned(),
                self.0.connection_errors.load(Relaxed),
            ),
            ("Error".to_owned(), self.0.stream_errors.load(Relaxed)),
        ]);
        let families = [
            (
                names::XDS_MESSAGES,
                "xDS messages received",
                "url",
                by_url(&self.0.messages),
            ),
            (
                names::XDS_MESSAGE_BYTES,
                "xDS bytes received",
                "url",
                by_url(&self.0.bytes),
            ),
            (
                names::XDS_TERMINATIONS,
                "xDS streams that ended",
                "reason",
                ends,
            ),
        ];
        for (name, help, label, counts) in families {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (value, count) in counts {
                let labels = [(label, value.as_str())];
                ConstCounter::new(count).encode(family.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}
