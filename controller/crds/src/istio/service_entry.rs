//! `ServiceEntry` (istio/api networking/v1/service_entry.proto): a service that Kubernetes does not know.

use super::WorkloadEntrySpec;
use serde::Deserialize;
use std::collections::BTreeMap;

/// `spec`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceEntrySpec {
    /// Names it is known by; each becomes a service.
    pub hosts: Vec<String>,
    /// Virtual addresses or blocks; none: allocated, see `status.addresses`.
    pub addresses: Vec<String>,
    /// Ports.
    pub ports: Vec<EntryPort>,
    /// Whether its endpoints are part of the mesh. Changes nothing in an ambient mesh: each endpoint says
    /// how it is reached.
    pub location: Location,
    /// How its endpoints are found.
    pub resolution: Resolution,
    /// Endpoints.
    pub endpoints: Vec<WorkloadEntrySpec>,
    /// Pods and WorkloadEntries of its namespace that are its endpoints.
    pub workload_selector: Option<WorkloadSelector>,
    /// Namespaces that see it: `.`, `*` or names; empty means all.
    pub export_to: Vec<String>,
    /// Identities its endpoints may have beside their own.
    pub subject_alt_names: Vec<String>,
}

/// `ports[]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct EntryPort {
    /// Port.
    pub number: u16,
    /// What is spoken on it, such as `HTTP`; empty: found out.
    pub protocol: String,
    /// Unique in the object.
    pub name: String,
    /// Port of the endpoints; unset means `number`.
    pub target_port: Option<u16>,
}

/// `location`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Location {
    /// Outside the mesh.
    #[default]
    MeshExternal,
    /// Part of it.
    MeshInternal,
}

/// `resolution`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Resolution {
    /// Not at all: the address that the application dialled.
    #[default]
    None,
    /// By the addresses given or selected.
    Static,
    /// By name, of the endpoints or of the host itself.
    Dns,
    /// The same here: one answer is used for one connection.
    DnsRoundRobin,
    /// By the Host of each request, which a wildcard of the entry takes.
    DynamicDns,
}

impl Resolution {
    /// Whether names are resolved.
    pub fn by_name(self) -> bool {
        matches!(self, Self::Dns | Self::DnsRoundRobin)
    }
}

/// `workloadSelector`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadSelector {
    /// All must be equal; none selects nothing.
    pub labels: BTreeMap<String, String>,
}
