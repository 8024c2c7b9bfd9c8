//! Who answers at an address or a name.
//! Order at an address: workload, then exact VIP, then block, longest prefix first.
//! Among services: the client's namespace, then `canonical`, then the first by name.

use super::Snapshot;
use crate::address::NetworkAddress;
use crate::ids::{ServiceKey, WorkloadUid};
use crate::service::{Service, Visibility};
use crate::workload::{TunnelProtocol, Workload};
use std::sync::Arc;

/// What an address belongs to.
#[derive(Clone, Debug)]
pub enum Found {
    /// One instance.
    Workload(Arc<Workload>),
    /// A virtual address.
    Service(Arc<Service>),
}

impl Snapshot {
    /// The workload at exactly this address. Pods win over other kinds, then HBONE, then the
    /// smallest uid.
    pub fn workload_at(&self, address: &NetworkAddress) -> Option<&Arc<Workload>> {
        self.holders
            .get(address)?
            .workloads
            .iter()
            .filter_map(|uid| self.workload(uid))
            .min_by_key(|w| {
                (
                    !w.uid.as_str().contains("//Pod/"),
                    w.tunnel != TunnelProtocol::Hbone,
                    w.uid.clone(),
                )
            })
    }

    /// The service whose virtual address this is, as seen from `client_namespace`.
    pub fn service_at(
        &self,
        address: &NetworkAddress,
        client_namespace: &str,
    ) -> Option<&Arc<Service>> {
        let exact = self.holders.get(address).map_or(&[][..], |h| &h.services);
        if let Some(service) = self.prefer(exact.iter(), client_namespace) {
            return Some(service);
        }
        let inside = |b: &&super::Block| {
            b.address.network == address.network && b.address.block.contains(&address.ip)
        };
        let longest = self.blocks.iter().find(inside)?.address.block.prefix_len();
        let candidates = self
            .blocks
            .iter()
            .filter(inside)
            .filter(|b| b.address.block.prefix_len() == longest);
        self.prefer(candidates.map(|b| &b.service), client_namespace)
    }

    /// Workload first, then service.
    pub fn lookup(&self, address: &NetworkAddress, client_namespace: &str) -> Option<Found> {
        if let Some(workload) = self.workload_at(address) {
            return Some(Found::Workload(workload.clone()));
        }
        self.service_at(address, client_namespace)
            .map(|s| Found::Service(s.clone()))
    }

    /// The service with this hostname, as seen from `client_namespace`.
    pub fn service_by_hostname(
        &self,
        hostname: &str,
        client_namespace: &str,
    ) -> Option<&Arc<Service>> {
        let keys = self.hostnames.get(hostname)?;
        self.prefer(keys.iter(), client_namespace)
    }

    /// The workload of the pod `namespace/name`; a pod wins over another kind of the same name.
    pub fn workload_named(&self, namespace: &str, name: &str) -> Option<&Arc<Workload>> {
        let uids = self.names.get(&(Arc::from(namespace), Arc::from(name)))?;
        let pod = |uid: &&WorkloadUid| uid.as_str().contains("//Pod/");
        let uid = uids.iter().find(pod).or_else(|| uids.first())?;
        self.workload(uid)
    }

    fn prefer<'a>(
        &'a self,
        keys: impl Iterator<Item = &'a ServiceKey>,
        client_namespace: &str,
    ) -> Option<&'a Arc<Service>> {
        keys.filter_map(|key| self.service(key))
            .filter(|s| s.visibility == Visibility::Public || &*s.key.namespace == client_namespace)
            .min_by_key(|s| {
                (
                    &*s.key.namespace != client_namespace,
                    !s.canonical,
                    s.key.clone(),
                )
            })
    }
}
