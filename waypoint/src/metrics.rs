//! Metrics of the waypoint: Istio's request and TCP series, one shard per worker.
//! In: the registry. Out: [`Metrics`], from which each worker takes its [`Series`].

mod xds;

use ambit_model::authorization::PolicyAction;
use ambit_model::ids::PolicyKey;
use ambit_runtime::build_info;
use ambit_telemetry::process;
use ambit_telemetry::requests::{RequestMetrics, RequestSeries};
use ambit_telemetry::traffic::{IDLE, TrafficMetrics, TrafficSeries};
use ambit_xds::io::client::ClientCounters;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use std::sync::Arc;
use xds::XdsMetrics;

/// Collectors of the process.
#[derive(Clone, Debug)]
pub struct Metrics {
    requests: RequestMetrics,
    traffic: TrafficMetrics,
    mirrors_skipped: Counter,
    refused: Family<RefusedLabels, Counter>,
    malformed: Family<ReasonLabels, Counter>,
    on_trial: Family<TrialLabels, Counter>,
    names: Family<NameLabels, Counter>,
    addresses: Family<ReasonLabels, Counter>,
    xds: XdsMetrics,
    /// `ambit_xds_resources_refused_total`.
    xds_refused: Counter,
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
    /// `ambit_connections_refused_total{direction,reason}`: tunnels and streams that never came to be.
    refused: Family<RefusedLabels, Counter>,
    /// `ambit_malformed_requests_total{reason}`.
    malformed: Family<ReasonLabels, Counter>,
    /// `ambit_policies_on_trial_total{policy,action,matched}`.
    on_trial: Family<TrialLabels, Counter>,
    /// `ambit_dynamic_dns_lookups_total{result}`.
    names: Family<NameLabels, Counter>,
    /// `ambit_dynamic_dns_refused_total{reason}`.
    addresses: Family<ReasonLabels, Counter>,
}

/// Why and which way, as the node proxy counts them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabels {
    direction: &'static str,
    reason: &'static str,
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

/// What became of a question.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct NameLabels {
    result: &'static str,
}

/// What a policy on trial said.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TrialLabels {
    policy: String,
    action: &'static str,
    matched: &'static str,
}

impl Series {
    /// A policy on trial was evaluated.
    pub fn on_trial(&self, policy: &PolicyKey, action: PolicyAction, matched: bool) {
        let labels = TrialLabels {
            policy: policy.to_string(),
            action: match action {
                PolicyAction::Allow => "ALLOW",
                PolicyAction::Deny => "DENY",
            },
            matched: if matched { "true" } else { "false" },
        };
        self.on_trial.get_or_create(&labels).inc();
    }

    /// A tunnel or a stream never came to be; a word, as in `x-ambit-reason`.
    pub fn refused(&self, reason: &'static str) {
        let labels = RefusedLabels {
            direction: "inbound",
            reason,
        };
        self.refused.get_or_create(&labels).inc();
    }

    /// A request or a connection broke HTTP or a limit.
    pub fn malformed(&self, reason: &'static str) {
        self.malformed.get_or_create(&ReasonLabels { reason }).inc();
    }

    /// Nameservers were asked for a host below a wildcard, or should have been.
    pub fn name_asked(&self, result: &'static str) {
        self.names.get_or_create(&NameLabels { result }).inc();
    }

    /// A host of a request led to an address that must not be dialled for it.
    pub fn address_refused(&self, reason: &'static str) {
        self.addresses.get_or_create(&ReasonLabels { reason }).inc();
    }
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
        let xds_refused = Counter::default();
        let help = "Resources of the control plane that cannot be used";
        registry.register("ambit_xds_resources_refused", help, xds_refused.clone());
        let refused = Family::default();
        let help = "Connections refused before they were joined, by reason";
        registry.register("ambit_connections_refused", help, refused.clone());
        let malformed = Family::default();
        let help = "Requests and connections that break HTTP or a limit, by reason";
        registry.register("ambit_malformed_requests", help, malformed.clone());
        let on_trial = Family::default();
        let help = "Evaluations of policies with istio.io/dry-run, which decide nothing";
        registry.register("ambit_policies_on_trial", help, on_trial.clone());
        let names = Family::default();
        let help = "Questions for names below wildcards, by what became of them";
        registry.register("ambit_dynamic_dns_lookups", help, names.clone());
        let addresses = Family::default();
        let help = "Requests whose host led to an address that must not be dialled for them";
        registry.register("ambit_dynamic_dns_refused", help, addresses.clone());
        Self {
            requests: RequestMetrics::register(registry, IDLE),
            traffic: TrafficMetrics::register(registry, IDLE),
            mirrors_skipped,
            refused,
            malformed,
            on_trial,
            names,
            addresses,
            xds: XdsMetrics::register(registry),
            xds_refused,
        }
    }

    /// For the xDS client.
    pub fn xds(&self) -> Arc<ClientCounters> {
        self.xds.0.clone()
    }

    /// Counts resources that cannot be used.
    pub fn xds_refused(&self) -> Counter {
        self.xds_refused.clone()
    }

    /// The series of one more worker.
    pub fn worker(&self) -> Series {
        Series {
            requests: self.requests.worker(),
            traffic: self.traffic.worker(),
            mirrors_skipped: self.mirrors_skipped.clone(),
            refused: self.refused.clone(),
            malformed: self.malformed.clone(),
            on_trial: self.on_trial.clone(),
            names: self.names.clone(),
            addresses: self.addresses.clone(),
        }
    }
}
