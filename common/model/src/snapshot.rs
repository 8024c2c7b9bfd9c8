//! The immutable state every decision reads.
//! In: `Change`s (from `convert`). Out: a new `Snapshot` that shares all that did not change: one
//! endpoint update copies O(log n). Nothing here fetches: what is absent is simply not there.

mod apply;
mod lookup;

pub use apply::Change;
pub use lookup::Found;

use crate::address::NetworkAddress;
use crate::authorization::Authorization;
use crate::ids::{Generation, PolicyKey, ServiceKey, WorkloadUid};
use crate::service::Service;
use crate::workload::Workload;
use rpds::HashTrieMapSync;
use std::sync::Arc;

/// Everything known of the mesh at one moment. Cloning is O(1).
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    generation: Generation,
    synced: Synced,
    workloads: HashTrieMapSync<WorkloadUid, Arc<Workload>>,
    services: HashTrieMapSync<ServiceKey, Arc<Service>>,
    policies: HashTrieMapSync<PolicyKey, Arc<Authorization>>,
    /// Who answers at an address.
    holders: HashTrieMapSync<NetworkAddress, Holders>,
    /// Service blocks wider than one address, longest prefix first.
    blocks: Arc<Vec<Block>>,
    /// Services by hostname, in any namespace.
    hostnames: HashTrieMapSync<Arc<str>, Vec<ServiceKey>>,
    /// Workloads that back a service; the service itself may be unknown yet.
    endpoints: HashTrieMapSync<ServiceKey, HashTrieMapSync<WorkloadUid, Arc<Workload>>>,
    /// Workloads by `(namespace, name)`, to find the pod the agent names.
    names: HashTrieMapSync<(Arc<str>, Arc<str>), Vec<WorkloadUid>>,
    /// Policies of scope NAMESPACE, by namespace.
    namespace_policies: HashTrieMapSync<Arc<str>, Vec<PolicyKey>>,
    /// Policies of scope GLOBAL.
    global_policies: Arc<Vec<PolicyKey>>,
}

/// Which resource types have had their first full response.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Synced {
    /// `istio.workload.Address`.
    pub addresses: bool,
    /// `istio.security.Authorization`.
    pub authorizations: bool,
}

impl Synced {
    /// Both types are known: absence is now a fact.
    pub fn complete(self) -> bool {
        self.addresses && self.authorizations
    }
}

#[derive(Clone, Debug, Default)]
struct Holders {
    workloads: Vec<WorkloadUid>,
    services: Vec<ServiceKey>,
}

#[derive(Clone, Debug)]
struct Block {
    address: crate::address::VirtualAddress,
    service: ServiceKey,
}

impl Snapshot {
    /// Number of this state; grows with every change.
    pub fn generation(&self) -> Generation {
        self.generation
    }

    /// Which types are complete.
    pub fn synced(&self) -> Synced {
        self.synced
    }

    /// A workload by its primary key.
    pub fn workload(&self, uid: &WorkloadUid) -> Option<&Arc<Workload>> {
        self.workloads.get(uid)
    }

    /// All workloads, in no order.
    pub fn workloads(&self) -> impl Iterator<Item = &Arc<Workload>> {
        self.workloads.values()
    }

    /// A service by its primary key.
    pub fn service(&self, key: &ServiceKey) -> Option<&Arc<Service>> {
        self.services.get(key)
    }

    /// All services, in no order.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.values()
    }

    /// A policy by its primary key.
    pub fn policy(&self, key: &PolicyKey) -> Option<&Arc<Authorization>> {
        self.policies.get(key)
    }

    /// All policies, in no order.
    pub fn policies(&self) -> impl Iterator<Item = &Arc<Authorization>> {
        self.policies.values()
    }

    /// Policies of scope NAMESPACE in `namespace`.
    pub fn namespace_policies(&self, namespace: &str) -> &[PolicyKey] {
        self.namespace_policies
            .get(namespace)
            .map_or(&[], Vec::as_slice)
    }

    /// Policies of scope GLOBAL.
    pub fn global_policies(&self) -> &[PolicyKey] {
        &self.global_policies
    }

    /// Workloads that back a service, healthy or not, in no order.
    pub fn endpoints(&self, key: &ServiceKey) -> impl Iterator<Item = &Arc<Workload>> {
        self.endpoints
            .get(key)
            .into_iter()
            .flat_map(HashTrieMapSync::values)
    }

    /// How many workloads back a service.
    pub fn endpoint_count(&self, key: &ServiceKey) -> usize {
        self.endpoints.get(key).map_or(0, HashTrieMapSync::size)
    }
}

#[cfg(test)]
mod tests;
