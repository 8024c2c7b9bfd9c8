//! Which address belongs to which pod.
//! In: addresses of one pod. Out: the kernel's POD_IPS map, changed by the difference.
//! Owns a copy of that map, because an address may have moved to another pod before its old one is cleaned.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ambit_ebpf_loader::{Capture, MapAccessError, Slot};

/// The owner of every pod address on the node.
#[derive(Debug, Default)]
pub struct Addresses {
    owner: BTreeMap<IpAddr, Slot>,
}

impl Addresses {
    /// What the kernel has.
    ///
    /// # Errors
    /// The map cannot be read.
    pub fn read(capture: &Capture) -> Result<Self, MapAccessError> {
        Ok(Self {
            owner: capture.pod_ips()?.into_iter().collect(),
        })
    }

    /// Makes `wanted` the addresses of `slot`. One that belonged to another pod is taken over.
    ///
    /// # Errors
    /// The map cannot be written; what was changed until then stays.
    pub fn set(
        &mut self,
        capture: &Capture,
        slot: Slot,
        wanted: &BTreeSet<IpAddr>,
    ) -> Result<(), MapAccessError> {
        for ip in wanted {
            if self.owner.get(ip) != Some(&slot) {
                capture.set_pod_ip(*ip, slot)?;
                self.owner.insert(*ip, slot);
            }
        }
        for ip in self.surplus(slot, wanted) {
            capture.remove_pod_ip(ip)?;
            self.owner.remove(&ip);
        }
        Ok(())
    }

    /// Slots that have addresses.
    pub fn slots(&self) -> BTreeSet<Slot> {
        self.owner.values().copied().collect()
    }

    fn surplus(&self, slot: Slot, wanted: &BTreeSet<IpAddr>) -> Vec<IpAddr> {
        let of_slot = self.owner.iter().filter(|(_, owner)| **owner == slot);
        of_slot
            .map(|(ip, _)| *ip)
            .filter(|ip| !wanted.contains(ip))
            .collect()
    }
}
