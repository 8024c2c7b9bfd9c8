//! Which namespaces and addresses are pods, and what each pod switched off.
//!
//! In: what the agent knows. Out: entries of `ENROLLED`, `POD_IPS`, `POD_OPTIONS`, `EXCLUDED`,
//! `NODE_NETNS`.

use super::{Maps, Plain, failed, lock, removed};
use crate::error::MapAccessError;
use crate::exclude::Prefix;
use ambit_ebpf_common::names::map as name;
use ambit_ebpf_common::{Address, Enrolled, ExcludedPorts, PodOptions, Slot};
use aya::maps::MapError;
use aya::maps::lpm_trie::Key;
use std::net::IpAddr;

impl Maps {
    /// Captures sockets of the namespace with this cookie.
    pub(crate) fn enroll(&self, cookie: u64, slot: Slot) -> Result<(), MapAccessError> {
        let value = Plain(Enrolled {
            slot: slot.number(),
            reserved: 0,
        });
        lock(&self.enrolled)
            .insert(cookie, value, 0)
            .map_err(failed(name::ENROLLED, "write"))
    }

    /// The reverse.
    pub(crate) fn unenroll(&self, cookie: u64) -> Result<(), MapAccessError> {
        removed(lock(&self.enrolled).remove(&cookie)).map_err(failed(name::ENROLLED, "delete from"))
    }

    /// Cookie and slot of every enrolled namespace, by slot.
    pub(crate) fn enrolled(&self) -> Result<Vec<(u64, Slot)>, MapAccessError> {
        let map = lock(&self.enrolled);
        let mut all = map
            .iter()
            .filter_map(|entry| match entry {
                Ok((cookie, Plain(value))) => Slot::new(value.slot).map(|slot| Ok((cookie, slot))),
                Err(error) => Some(Err(error)),
            })
            .collect::<Result<Vec<_>, MapError>>()
            .map_err(failed(name::ENROLLED, "list"))?;
        all.sort_by_key(|(_, slot)| *slot);
        Ok(all)
    }

    /// Says whose address this is.
    pub(crate) fn set_pod_ip(&self, ip: IpAddr, slot: Slot) -> Result<(), MapAccessError> {
        lock(&self.pod_ips)
            .insert(Address::from(ip).words, slot.number(), 0)
            .map_err(failed(name::POD_IPS, "write"))
    }

    /// The address is no pod's any more.
    pub(crate) fn remove_pod_ip(&self, ip: IpAddr) -> Result<(), MapAccessError> {
        removed(lock(&self.pod_ips).remove(&Address::from(ip).words))
            .map_err(failed(name::POD_IPS, "delete from"))
    }

    /// Every address, in order.
    pub(crate) fn pod_ips(&self) -> Result<Vec<(IpAddr, Slot)>, MapAccessError> {
        let map = lock(&self.pod_ips);
        let mut all = map
            .iter()
            .filter_map(|entry| match entry {
                Ok((words, slot)) => {
                    Slot::new(slot).map(|slot| Ok((IpAddr::from(Address { words }), slot)))
                }
                Err(error) => Some(Err(error)),
            })
            .collect::<Result<Vec<_>, MapError>>()
            .map_err(failed(name::POD_IPS, "list"))?;
        all.sort();
        Ok(all)
    }

    /// What the pod switches off.
    pub(crate) fn set_options(
        &self,
        slot: Slot,
        options: PodOptions,
    ) -> Result<(), MapAccessError> {
        lock(&self.pod_options)
            .set(slot.number(), options.bits(), 0)
            .map_err(failed(name::POD_OPTIONS, "write"))
    }

    /// Replaces the excluded destinations of the pod: new ones first, then the old ones go.
    pub(crate) fn set_excluded(
        &self,
        slot: Slot,
        entries: &[(Prefix, ExcludedPorts)],
    ) -> Result<(), MapAccessError> {
        let mut map = lock(&self.excluded);
        for (prefix, ports) in entries {
            map.insert(&key(*prefix), Plain(*ports), 0)
                .map_err(failed(name::EXCLUDED, "write"))?;
        }
        let old: Vec<Prefix> = map
            .keys()
            .map(|found| {
                found.map(|found| Prefix {
                    length: found.prefix_len(),
                    key: found.data().0,
                })
            })
            .collect::<Result<_, _>>()
            .map_err(failed(name::EXCLUDED, "list"))?;
        let gone = old.into_iter().filter(|prefix| {
            prefix.key.slot == slot.number() && entries.iter().all(|(kept, _)| kept != prefix)
        });
        for prefix in gone {
            removed(map.remove(&key(prefix))).map_err(failed(name::EXCLUDED, "delete from"))?;
        }
        Ok(())
    }

    /// The node's own namespace.
    pub(crate) fn set_node(&self, cookie: u64) -> Result<(), MapAccessError> {
        let mut map = lock(&self.node_netns);
        map.insert(cookie, 1, 0)
            .map_err(failed(name::NODE_NETNS, "write"))?;
        let others = map
            .keys()
            .filter(|found| !matches!(found, Ok(found) if *found == cookie))
            .collect::<Result<Vec<_>, MapError>>()
            .map_err(failed(name::NODE_NETNS, "list"))?;
        for other in others {
            removed(map.remove(&other)).map_err(failed(name::NODE_NETNS, "delete from"))?;
        }
        Ok(())
    }
}

fn key(prefix: Prefix) -> Key<Plain<ambit_ebpf_common::ExcludedKey>> {
    Key::new(prefix.length, Plain(prefix.key))
}
