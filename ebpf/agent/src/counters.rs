//! Metrics of the agent: decisions counted by the kernel programs, and its own work.
//! In: the capture maps, read at scrape; counts of the reconcile task; its view. Out: Prometheus series.
//! Owns its counters. Must not happen here: a failed read that looks like zero: the series is left out.

use std::fmt;
use std::sync::Arc;

use ambit_ebpf_loader::Capture;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use crate::view::View;

/// Counts of the reconcile task. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    cni: Family<CniLabels, Counter>,
    step_failures: Counter,
    session_failures: Family<FailureLabel, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CniLabels {
    command: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabel {
    reason: &'static str,
}

impl Counters {
    /// Adds the series to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "ambit_cni_requests",
            "Requests of the CNI plugin",
            self.cni.clone(),
        );
        registry.register(
            "ambit_enroll_failures",
            "Steps of enrolling or leaving that failed and will be tried again",
            self.step_failures.clone(),
        );
        registry.register(
            "ambit_zds_sessions_failed",
            "Connections on the proxy socket that broke the protocol or a deadline, by reason",
            self.session_failures.clone(),
        );
    }

    pub(crate) fn cni(&self, command: &'static str, result: &'static str) {
        self.cni.get_or_create(&CniLabels { command, result }).inc();
    }

    pub(crate) fn session_failed(&self, reason: &'static str) {
        self.session_failures
            .get_or_create(&FailureLabel { reason })
            .inc();
    }

    pub(crate) fn step_failed(&self) {
        self.step_failures.inc();
    }
}

/// Series read from the kernel and the reconcile task when somebody scrapes.
pub struct Scraped {
    capture: Arc<Capture>,
    view: watch::Receiver<Arc<View>>,
}

impl Scraped {
    /// Reads these two.
    pub fn new(capture: Arc<Capture>, view: watch::Receiver<Arc<View>>) -> Self {
        Self { capture, view }
    }

    fn decisions(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let counters = match self.capture.counters() {
            Ok(counters) => counters,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "capture counters cannot be read"
                );
                return Ok(());
            }
        };
        let mut family = encoder.encode_descriptor(
            "ambit_capture_decisions",
            "Decisions of the capture programs",
            None,
            MetricType::Counter,
        )?;
        for (counter, value) in counters {
            let labels = [("decision", counter.label())];
            ConstCounter::new(value).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }

    fn pods(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let view = self.view.borrow().clone();
        let mut family = encoder.encode_descriptor(
            "ambit_pods",
            "Pods with a sandbox here",
            None,
            MetricType::Gauge,
        )?;
        for state in ["plain", "pending", "enrolled", "leaving"] {
            let count = view.pods.iter().filter(|pod| pod.state == state).count();
            let labels = [("state", state)];
            ConstGauge::new(count as i64).encode(family.encode_family(&labels)?)?;
        }
        gauge(
            encoder,
            "ambit_zds_connections",
            "Connected proxies",
            view.proxies,
        )?;
        gauge(
            encoder,
            "ambit_reserved_slots",
            "Captured pods the agent has lost the record of",
            view.reserved_slots,
        )?;
        let older = view
            .pods
            .iter()
            .filter_map(|pod| pod.preexisting_connections);
        gauge(
            encoder,
            "ambit_preexisting_connections",
            "Connections from before their pod was captured, which live on outside the mesh",
            older.sum(),
        )
    }
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: usize) -> fmt::Result {
    let metric = ConstGauge::new(value as i64);
    metric.encode(encoder.encode_descriptor(name, help, None, metric.metric_type())?)
}

impl Collector for Scraped {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        self.decisions(&mut encoder)?;
        self.pods(&mut encoder)
    }
}

impl fmt::Debug for Scraped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scraped").finish_non_exhaustive()
    }
}
