//! `DestinationRule` (istio/api networking/v1/destination_rule.proto), the part waypoints execute.

use crate::duration::istio as duration;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Fields of the API that are refused with "not supported yet".
pub(crate) const DESTINATION_RULE_UNSUPPORTED: &[&str] = &[
    "spec.workloadSelector",
    "spec.subsets[].trafficPolicy",
    "spec.trafficPolicy.outlierDetection",
    "spec.trafficPolicy.portLevelSettings",
    "spec.trafficPolicy.tunnel",
    "spec.trafficPolicy.proxyProtocol",
    "spec.trafficPolicy.retryBudget",
    "spec.trafficPolicy.loadBalancer.consistentHash",
    "spec.trafficPolicy.loadBalancer.localityLbSetting",
    "spec.trafficPolicy.loadBalancer.zoneAwareLbSetting",
    "spec.trafficPolicy.loadBalancer.warmup",
    "spec.trafficPolicy.loadBalancer.warmupDurationSecs",
    "spec.trafficPolicy.connectionPool.http",
    "spec.trafficPolicy.connectionPool.tcp.maxConnections",
    "spec.trafficPolicy.connectionPool.tcp.tcpKeepalive",
    "spec.trafficPolicy.connectionPool.tcp.maxConnectionDuration",
    "spec.trafficPolicy.connectionPool.tcp.idleTimeout",
    "spec.trafficPolicy.tls.clientCertificate",
    "spec.trafficPolicy.tls.privateKey",
    "spec.trafficPolicy.tls.caCertificates",
    "spec.trafficPolicy.tls.caCrl",
    "spec.trafficPolicy.tls.credentialName",
    "spec.trafficPolicy.tls.subjectAltNames",
    "spec.trafficPolicy.tls.sni",
    "spec.trafficPolicy.tls.insecureSkipVerify",
];

/// `spec`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DestinationRuleSpec {
    /// Service it is for, short or full name.
    pub host: String,
    /// How traffic to it is sent.
    pub traffic_policy: Option<TrafficPolicy>,
    /// Named parts of its pods.
    pub subsets: Vec<Subset>,
    /// Namespaces that see it: `.`, `*` or names; empty means all.
    pub export_to: Vec<String>,
}

/// `subsets[]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Subset {
    /// Name routes refer to.
    pub name: String,
    /// Pods that have all of these.
    pub labels: BTreeMap<String, String>,
}

/// `trafficPolicy`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TrafficPolicy {
    /// Which endpoint.
    pub load_balancer: Option<LoadBalancer>,
    /// Limits of connections.
    pub connection_pool: Option<ConnectionPool>,
    /// Only the two modes that change nothing in a mesh.
    pub tls: Option<TlsSettings>,
}

/// `loadBalancer`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LoadBalancer {
    /// Unset means least request.
    pub simple: Option<SimpleLoadBalancer>,
}

/// `loadBalancer.simple`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SimpleLoadBalancer {
    /// Means least request.
    Unspecified,
    /// Power of two choices; `LEAST_CONN` is its old name.
    #[serde(alias = "LEAST_CONN")]
    LeastRequest,
    /// In turn.
    RoundRobin,
    /// At random.
    Random,
    /// The address the client dialled; refused by validation.
    Passthrough,
}

/// `connectionPool`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ConnectionPool {
    /// Of TCP.
    pub tcp: Option<TcpPool>,
}

/// `connectionPool.tcp`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpPool {
    /// Unset means 10 s.
    #[serde(deserialize_with = "duration")]
    pub connect_timeout: Option<Duration>,
}

/// `tls`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TlsSettings {
    /// Unset means `DISABLE`.
    pub mode: Option<TlsMode>,
}

/// `tls.mode`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum TlsMode {
    /// No effect in an ambient mesh, as upstream.
    Disable,
    /// No effect in an ambient mesh, as upstream.
    IstioMutual,
    /// Refused by validation.
    Simple,
    /// Refused by validation.
    Mutual,
}
