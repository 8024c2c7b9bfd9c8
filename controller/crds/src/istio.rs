//! Istio's own kinds: networking.istio.io and security.istio.io.
//! Field names and meaning are istio/api's; fields Ambit does not execute are refused when read.

mod authorization_policy;
mod destination_rule;
mod gateway;
mod peer_authentication;
mod service_entry;
mod virtual_service;
mod workload_entry;

pub use authorization_policy::{
    Action, AuthorizationPolicySpec, Condition, ExtensionProvider, From, Operation, Rule, Source,
    TargetRef, To,
};
pub(crate) use destination_rule::DESTINATION_RULE_UNSUPPORTED;
pub use destination_rule::{
    ConnectionPool, DestinationRuleSpec, LoadBalancer, SimpleLoadBalancer, Subset, TcpPool,
    TlsMode, TlsSettings, TrafficPolicy,
};
pub(crate) use gateway::GATEWAY_UNSUPPORTED;
pub use gateway::{IstioGatewaySpec, Port, Server};
pub use peer_authentication::{MutualTls, MutualTlsMode, PeerAuthenticationSpec};
pub use service_entry::{EntryPort, Location, Resolution, ServiceEntrySpec, WorkloadSelector};
pub(crate) use virtual_service::VIRTUAL_SERVICE_UNSUPPORTED;
pub use virtual_service::{
    Abort, Delay, DerivePort, Destination, DirectResponse, DirectResponseBody, Fault,
    HeaderOperations, Headers, HttpMatch, HttpRoute, Mirror, Percent, PortSelector, Redirect,
    RegexRewrite, Retries, Rewrite, StringMatch, VirtualServiceSpec, WeightedDestination,
};
pub use workload_entry::WorkloadEntrySpec;

use serde::Deserialize;
use std::collections::BTreeMap;

/// `selector`: pods by labels. An empty selector selects every pod of the namespace.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Selector {
    /// All must be equal.
    pub match_labels: BTreeMap<String, String>,
}
