//! `WorkloadEntry` (istio/api networking/v1/workload_entry.proto): a workload that is no pod. The same
//! fields describe an endpoint written into a ServiceEntry.

use serde::Deserialize;
use std::collections::BTreeMap;

/// `spec`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkloadEntrySpec {
    /// An IP address, or a name to resolve.
    pub address: String,
    /// Name of a service port → port here.
    pub ports: BTreeMap<String, u16>,
    /// For selectors; joined with the object's own labels, which win.
    pub labels: BTreeMap<String, String>,
    /// Network of the address; empty means the mesh's.
    pub network: String,
    /// `region/zone/subzone`, the latter two optional.
    pub locality: String,
    /// Share among the endpoints of a service; 0 means 1.
    pub weight: u32,
    /// Service account of its identity, in the object's namespace.
    pub service_account: String,
}
