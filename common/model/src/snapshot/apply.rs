//! Changes in, the next snapshot out. Every index is updated here and nowhere else.

use super::{Block, Holders, Snapshot, Synced};
use crate::authorization::{Authorization, PolicyScope};
use crate::ids::{PolicyKey, ServiceKey, WorkloadUid};
use crate::service::Service;
use crate::workload::Workload;
use rpds::HashTrieMapSync;
use std::hash::Hash;
use std::sync::Arc;

/// One change of the mesh, already validated.
#[derive(Clone, Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "lives only from conversion to apply"
)]
pub enum Change {
    /// New or replaced workload.
    Workload(Workload),
    /// New or replaced service.
    Service(Service),
    /// Removal on the `Address` stream: a workload uid, else `<namespace>/<hostname>`.
    RemoveAddress(String),
    /// New or replaced policy.
    Policy(Authorization),
    /// Removal on the `Authorization` stream: `<namespace>/<name>`.
    RemovePolicy(String),
    /// A type has had its first full response.
    Synced(Synced),
}

impl Snapshot {
    /// The state after `changes`, applied in order. O(log n) copies per change.
    #[must_use]
    pub fn apply(&self, changes: impl IntoIterator<Item = Change>) -> Snapshot {
        let mut next = self.clone();
        next.generation = self.generation.next();
        for change in changes {
            match change {
                Change::Workload(w) => {
                    next.remove_workload(&w.uid.clone());
                    next.insert_workload(Arc::new(w));
                }
                Change::Service(s) => {
                    next.remove_service(&s.key.clone());
                    next.insert_service(Arc::new(s));
                }
                Change::RemoveAddress(name) => next.remove_address(&name),
                Change::Policy(p) => {
                    next.remove_policy(&p.key.clone());
                    next.insert_policy(Arc::new(p));
                }
                Change::RemovePolicy(name) => {
                    if let Ok(key) = name.parse() {
                        next.remove_policy(&key);
                    }
                }
                Change::Synced(synced) => {
                    next.synced.addresses |= synced.addresses;
                    next.synced.authorizations |= synced.authorizations;
                }
            }
        }
        next
    }

    fn remove_address(&mut self, name: &str) {
        let uid = WorkloadUid::from(name);
        if self.workloads.contains_key(&uid) {
            self.remove_workload(&uid);
        } else if let Ok(key) = name.parse() {
            self.remove_service(&key);
        }
    }

    fn insert_workload(&mut self, workload: Arc<Workload>) {
        for address in workload.network_addresses() {
            update(&mut self.holders, address, |h: &mut Holders| {
                h.workloads.push(workload.uid.clone());
            });
        }
        for service in workload.services.keys() {
            let mut members = self.endpoints.get(service).cloned().unwrap_or_default();
            members.insert_mut(workload.uid.clone(), workload.clone());
            self.endpoints.insert_mut(service.clone(), members);
        }
        let name = (workload.namespace.clone(), workload.name.clone());
        update(&mut self.names, name, |uids: &mut Vec<_>| {
            uids.push(workload.uid.clone());
        });
        self.workloads.insert_mut(workload.uid.clone(), workload);
    }

    fn remove_workload(&mut self, uid: &WorkloadUid) {
        let Some(old) = self.workloads.get(uid).cloned() else {
            return;
        };
        self.workloads.remove_mut(uid);
        for address in old.network_addresses() {
            shrink(&mut self.holders, &address, |h| {
                h.workloads.retain(|u| u != uid);
                h.is_empty()
            });
        }
        for service in old.services.keys() {
            shrink(&mut self.endpoints, service, |members| {
                members.remove_mut(uid);
                members.is_empty()
            });
        }
        let name = (old.namespace.clone(), old.name.clone());
        shrink(&mut self.names, &name, |uids| {
            uids.retain(|u| u != uid);
            uids.is_empty()
        });
    }

    fn insert_service(&mut self, service: Arc<Service>) {
        for address in &service.addresses {
            if let Some(single) = address.single() {
                update(&mut self.holders, single, |h: &mut Holders| {
                    h.services.push(service.key.clone());
                });
            } else {
                let blocks = Arc::make_mut(&mut self.blocks);
                let len = address.block.prefix_len();
                let at = blocks.partition_point(|b| b.address.block.prefix_len() >= len);
                let service = service.key.clone();
                let address = address.clone();
                blocks.insert(at, Block { address, service });
            }
        }
        let host = service.key.hostname.clone();
        update(&mut self.hostnames, host, |keys: &mut Vec<_>| {
            keys.push(service.key.clone());
        });
        self.services.insert_mut(service.key.clone(), service);
    }

    fn remove_service(&mut self, key: &ServiceKey) {
        let Some(old) = self.services.get(key).cloned() else {
            return;
        };
        self.services.remove_mut(key);
        for address in &old.addresses {
            if let Some(single) = address.single() {
                shrink(&mut self.holders, &single, |h| {
                    h.services.retain(|k| k != key);
                    h.is_empty()
                });
            } else {
                Arc::make_mut(&mut self.blocks).retain(|b| &b.service != key);
            }
        }
        shrink(&mut self.hostnames, &key.hostname, |keys| {
            keys.retain(|k| k != key);
            keys.is_empty()
        });
    }

    fn insert_policy(&mut self, policy: Arc<Authorization>) {
        match policy.scope {
            PolicyScope::Global => {
                Arc::make_mut(&mut self.global_policies).push(policy.key.clone());
            }
            PolicyScope::Namespace => {
                let namespace = policy.key.namespace.clone();
                update(
                    &mut self.namespace_policies,
                    namespace,
                    |keys: &mut Vec<_>| {
                        keys.push(policy.key.clone());
                    },
                );
            }
            PolicyScope::WorkloadSelector => {}
        }
        self.policies.insert_mut(policy.key.clone(), policy);
    }

    fn remove_policy(&mut self, key: &PolicyKey) {
        if !self.policies.remove_mut(key) {
            return;
        }
        if self.global_policies.contains(key) {
            Arc::make_mut(&mut self.global_policies).retain(|k| k != key);
        }
        shrink(&mut self.namespace_policies, &key.namespace, |keys| {
            keys.retain(|k| k != key);
            keys.is_empty()
        });
    }
}

impl Holders {
    fn is_empty(&self) -> bool {
        self.workloads.is_empty() && self.services.is_empty()
    }
}

/// Changes the value at `key`, starting from the default.
fn update<K, V>(map: &mut HashTrieMapSync<K, V>, key: K, change: impl FnOnce(&mut V))
where
    K: Eq + Hash + Clone,
    V: Clone + Default,
{
    let mut value = map.get(&key).cloned().unwrap_or_default();
    change(&mut value);
    map.insert_mut(key, value);
}

/// Changes the value at `key`, if any, and drops it when `change` says that nothing is left.
fn shrink<K, V>(map: &mut HashTrieMapSync<K, V>, key: &K, change: impl FnOnce(&mut V) -> bool)
where
    K: Eq + Hash + Clone,
    V: Clone,
{
    let Some(mut value) = map.get(key).cloned() else {
        return;
    };
    if change(&mut value) {
        map.remove_mut(key);
    } else {
        map.insert_mut(key.clone(), value);
    }
}
