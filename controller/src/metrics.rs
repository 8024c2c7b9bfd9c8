//! Metrics of the controller, with the names istiod's dashboards know.
//! Counters are named without `_total`, which the encoder adds.

pub(crate) mod authority;
pub(crate) mod cluster;

use crate::external::ExternalMetrics;
use crate::signing::{Issuer, Signer, current};
use ambit_api::type_urls;
use ambit_runtime::build_info;
use ambit_xds::ResourceSet;
use ambit_xds::io::server::ServerCounters;
use authority::AuthorityMetrics;
use cluster::ClusterMetrics;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// Kinds counted at most; a document can name any.
const MAX_KINDS: usize = 64;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ConfigEvent {
    r#type: String,
    event: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResourceKind {
    resource: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TypeLabel {
    r#type: &'static str,
}

/// Counters of all modules. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    config_events: Family<ConfigEvent, Counter>,
    validation_failed: Family<ResourceKind, Counter>,
    kinds: Arc<Mutex<BTreeMap<String, ()>>>,
    /// Batches that changed resources.
    pub(crate) triggers: Counter,
    /// Time from a batch to its publication, in seconds.
    pub(crate) batch_duration: Histogram,
    /// Times the directory could not be read.
    pub(crate) source_errors: Counter,
    /// Statuses or objects that could not be written.
    pub(crate) write_errors: Counter,
    /// The certificate authority.
    pub(crate) authority: AuthorityMetrics,
    /// Tokens and the Lease.
    pub(crate) cluster: ClusterMetrics,
    /// Signers outside; registered where there are any.
    pub(crate) external: ExternalMetrics,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            config_events: Family::default(),
            validation_failed: Family::default(),
            kinds: Arc::default(),
            triggers: Counter::default(),
            batch_duration: Histogram::new(exponential_buckets(0.0001, 4.0, 9)),
            source_errors: Counter::default(),
            write_errors: Counter::default(),
            authority: AuthorityMetrics::default(),
            cluster: ClusterMetrics::default(),
            external: ExternalMetrics::default(),
        }
    }
}

impl Metrics {
    pub(crate) fn config_event(&self, kind: &str, event: &'static str) {
        let labels = ConfigEvent {
            r#type: self.bounded(kind),
            event,
        };
        self.config_events.get_or_create(&labels).inc();
    }

    pub(crate) fn validation_failed(&self, kind: &str) {
        let resource = self.bounded(kind);
        self.validation_failed
            .get_or_create(&ResourceKind { resource })
            .inc();
    }

    fn bounded(&self, kind: &str) -> String {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        if kinds.len() >= MAX_KINDS && !kinds.contains_key(kind) {
            return "other".to_owned();
        }
        let kind: String = kind.chars().take(64).collect();
        kinds.insert(kind.clone(), ());
        kind
    }

    /// Registers everything of the process.
    pub(crate) fn register(
        &self,
        registry: &mut Registry,
        xds: &ambit_xds::Server,
        sets: &watch::Receiver<Arc<ResourceSet>>,
        signer: Signer,
    ) {
        build_info::register(registry, "pilot");
        ambit_telemetry::process::register(registry);
        let mut add = |name: &str, help: &str, counter: &Counter| {
            registry.register(name, help, counter.clone());
        };
        add(
            "pilot_push_triggers",
            "Batches that changed resources",
            &self.triggers,
        );
        add(
            "ambit_source_errors",
            "Times the directory could not be read",
            &self.source_errors,
        );
        add(
            "ambit_status_write_errors",
            "Statuses not written",
            &self.write_errors,
        );
        registry.register(
            "pilot_k8s_cfg_events",
            "Changes of objects, by kind",
            self.config_events.clone(),
        );
        registry.register(
            "galley_validation_failed",
            "Documents refused, by kind",
            self.validation_failed.clone(),
        );
        registry.register(
            "pilot_proxy_convergence_time",
            "Seconds from a change to its publication",
            self.batch_duration.clone(),
        );
        if matches!(current(&signer).issuer, Issuer::External(_)) {
            self.external.register(registry);
        }
        self.authority.register(registry, signer);
        self.cluster.register(registry);
        registry.register_collector(Box::new(XdsCollector {
            xds: xds.clone(),
            sets: sets.clone(),
        }));
    }
}

/// Reads the xDS server's counters at scrape.
struct XdsCollector {
    xds: ambit_xds::Server,
    sets: watch::Receiver<Arc<ResourceSet>>,
}

impl std::fmt::Debug for XdsCollector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("XdsCollector")
    }
}

/// Short names of types, as metrics carry them.
const TYPES: [(&str, &str); 6] = [
    (type_urls::ADDRESS, "wds"),
    (type_urls::AUTHORIZATION, "wads"),
    (type_urls::GATEWAY, "gds"),
    (type_urls::ROUTER, "rds"),
    (type_urls::CLUSTER, "cds"),
    (type_urls::ENDPOINTS, "eds"),
];

impl Collector for XdsCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let counters: Arc<ServerCounters> = self.xds.counters();
        let of = |map: &Mutex<BTreeMap<String, u64>>| {
            map.lock().unwrap_or_else(PoisonError::into_inner).clone()
        };
        let (pushes, rejects) = (of(&counters.pushes), of(&counters.rejects));
        let mut family = |name, help, values: &BTreeMap<String, u64>| {
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (type_url, short) in TYPES {
                let value = ConstCounter::new(values.get(type_url).copied().unwrap_or(0));
                value.encode(metric.encode_family(&TypeLabel { r#type: short })?)?;
            }
            Ok(())
        };
        family("pilot_xds_pushes", "Responses sent, by type", &pushes)?;
        family(
            "pilot_total_xds_rejects",
            "Responses refused by proxies, by type",
            &rejects,
        )?;
        let mut gauge = |name, help, value: usize| {
            let value = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            value.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
        };
        gauge("pilot_xds", "Proxies connected", self.xds.streams().len())?;
        let mut count = |name, help, value: &AtomicU64| {
            let value = ConstCounter::new(value.load(Ordering::Relaxed));
            value.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)
        };
        count(
            "ambit_xds_denied",
            "Callers of xDS turned away",
            &counters.denied,
        )?;
        count(
            "ambit_xds_malformed",
            "Streams ended because a message could not be read",
            &counters.malformed,
        )?;
        let set = self.sets.borrow().clone();
        let help = "Encoded size of all resources, by type";
        let name = "pilot_xds_config_size_bytes";
        let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (type_url, short) in TYPES {
            let bytes = ConstGauge::new(i64::try_from(set.bytes(type_url)).unwrap_or(i64::MAX));
            bytes.encode(metric.encode_family(&TypeLabel { r#type: short })?)?;
        }
        Ok(())
    }
}
