//! The capture of one node.
//!
//! In: settings, then one call per change. Out: kernel state, changed before the call returns.
//! Owns descriptors only; dropping it changes nothing. All methods may be called from any thread.
//!
//! The order is the caller's. Enroll: listeners → [`Capture::attach_steer`] →
//! [`Capture::enroll`]. Leave: [`Capture::unenroll`] → drain → [`Capture::detach_steer`] →
//! [`Capture::clear_listener`].

use crate::cgroup::{self, CgroupError, CgroupRef};
use crate::error::{
    EnrollError, ExemptError, MapAccessError, NameserverError, OpenError, RemoveError, SteerError,
};
use crate::exclude::{self, Exclusion, ExclusionError};
use crate::maps::Maps;
use crate::object::ObjectLoader;
use crate::pins::Pins;
use crate::{hooks, layout, reroute, steer};
use ambit_ebpf_common::{Counter, PodOptions, Role, Slot};
use std::collections::BTreeSet;
use std::fs::File;
use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;

/// Settings of [`Capture::open`].
#[derive(Clone, Debug)]
pub struct CaptureConfig {
    /// A directory on a bpffs, for instance `/sys/fs/bpf/ambit`; made if it does not exist.
    pub pin_root: PathBuf,
    /// The cgroup2 directory whose processes are captured; the hierarchy's root on a real node.
    pub cgroup_root: PathBuf,
    /// `SO_NETNS_COOKIE` of the node's own network namespace.
    pub node_netns_cookie: u64,
    /// Cgroup of all pods: their sockets in the node's namespace are no probes.
    pub kubepods: Option<CgroupRef>,
}

/// Programs, links and maps of this node.
pub struct Capture {
    pins: Pins,
    loader: ObjectLoader,
    maps: Maps,
    node_netns_cookie: u64,
}

impl std::fmt::Debug for Capture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Capture")
            .field("pins", &self.pins)
            .finish_non_exhaustive()
    }
}

impl Capture {
    /// Adopts what is pinned or loads it, and puts this build's programs behind every link.
    /// Enrolled pods stay captured throughout. A steer link that cannot be updated keeps its old
    /// program and is logged.
    pub fn open(config: CaptureConfig) -> Result<Self, OpenError> {
        let pins = Pins::prepare(&config.pin_root)?;
        let id = cgroup::id_of(&config.cgroup_root)?;
        let cgroup = File::open(&config.cgroup_root).map_err(|source| CgroupError::Read {
            path: config.cgroup_root.clone(),
            source,
        })?;
        let loader = ObjectLoader::new(&pins);
        let any_slot = Slot::new(0).expect("zero is below the number of slots");
        let mut object = loader
            .instance(any_slot)
            .map_err(|source| OpenError::Object(Box::new(source)))?;
        layout::check(&pins)?;
        let maps = Maps::take(&mut object)?;
        maps.set_node(config.node_netns_cookie)?;
        maps.unenroll(config.node_netns_cookie)?;
        maps.set_kubepods(config.kubepods)?;
        hooks::attach(&mut object, cgroup.as_fd(), id, &pins)?;
        steer::refresh(&loader, &pins)?;
        reroute::refresh(&loader, &pins)?;
        Ok(Self {
            pins,
            loader,
            maps,
            node_netns_cookie: config.node_netns_cookie,
        })
    }

    /// Replaces the cgroups whose processes are never captured. Call it before the proxy gets
    /// descriptors: its own connections would loop otherwise.
    pub fn set_exempt(&self, cgroups: &[CgroupRef]) -> Result<(), ExemptError> {
        self.maps.set_exempt(cgroups)
    }

    /// Captures the sockets of the network namespace with this `SO_NETNS_COOKIE`.
    pub fn enroll(&self, cookie: u64, slot: Slot) -> Result<(), EnrollError> {
        if cookie == self.node_netns_cookie {
            return Err(EnrollError::Node { cookie });
        }
        Ok(self.maps.enroll(cookie, slot)?)
    }

    /// Captures no new connection of the namespace; no error if it was not enrolled.
    pub fn unenroll(&self, cookie: u64) -> Result<(), MapAccessError> {
        self.maps.unenroll(cookie)
    }

    /// Cookie and slot of every enrolled namespace, ordered by slot.
    pub fn enrolled(&self) -> Result<Vec<(u64, Slot)>, MapAccessError> {
        self.maps.enrolled()
    }

    /// Gives the pod's connections of this role to a listening TCP socket, or to the
    /// SO_REUSEPORT group it is in. Must be dual-stack for a dual-stack pod, and transparent
    /// (`IP_TRANSPARENT`) for [`Role::Outbound`]. The entry vanishes when the socket closes.
    pub fn set_listener(
        &self,
        slot: Slot,
        role: Role,
        fd: BorrowedFd<'_>,
    ) -> Result<(), MapAccessError> {
        self.maps.set_listener(slot, role, fd)
    }

    /// From now on connections of this role are refused; no error if there was no listener.
    pub fn clear_listener(&self, slot: Slot, role: Role) -> Result<(), MapAccessError> {
        self.maps.clear_listener(slot, role)
    }

    /// The pod in this slot has this address.
    pub fn set_pod_ip(&self, ip: IpAddr, slot: Slot) -> Result<(), MapAccessError> {
        self.maps.set_pod_ip(ip, slot)
    }

    /// No enrolled pod has this address.
    pub fn remove_pod_ip(&self, ip: IpAddr) -> Result<(), MapAccessError> {
        self.maps.remove_pod_ip(ip)
    }

    /// Addresses of enrolled pods, ordered.
    pub fn pod_ips(&self) -> Result<Vec<(IpAddr, Slot)>, MapAccessError> {
        self.maps.pod_ips()
    }

    /// What the pod switches off. The default is everything on; [`Capture::detach_steer`]
    /// returns to it.
    pub fn set_options(&self, slot: Slot, options: PodOptions) -> Result<(), MapAccessError> {
        self.maps.set_options(slot, options)
    }

    /// Replaces the destinations that the pod's TCP connections reach without capture.
    pub fn set_excluded(&self, slot: Slot, exclusions: &[Exclusion]) -> Result<(), ExclusionError> {
        let entries = exclude::entries(slot, exclusions)?;
        Ok(self.maps.set_excluded(slot, &entries)?)
    }

    /// Replaces the nameservers whose UDP queries are captured. A nameserver keeps its index
    /// while it stays, and gets it back where possible.
    pub fn set_nameservers(&self, servers: &[Ipv4Addr]) -> Result<(), NameserverError> {
        self.maps.set_nameservers(servers)
    }

    /// Index `i` of a captured nameserver; its queries arrive at 127.53.0.`i`:15053.
    pub fn nameserver_index(&self, server: Ipv4Addr) -> Result<Option<u8>, MapAccessError> {
        let servers = self.nameservers()?;
        Ok(servers
            .into_iter()
            .find_map(|(address, index)| (address == server).then_some(index)))
    }

    /// Captured nameservers and their indices, ordered by address.
    pub fn nameservers(&self) -> Result<Vec<(Ipv4Addr, u8)>, MapAccessError> {
        let servers = self.maps.nameservers()?;
        Ok(servers
            .into_iter()
            .filter_map(|(address, index)| Some((address, u8::try_from(index).ok()?)))
            .collect())
    }

    /// Steers connections that arrive in this namespace to the slot's listeners. Called again
    /// for the same namespace it updates the program in place; for another one it moves.
    pub fn attach_steer(&self, slot: Slot, netns: BorrowedFd<'_>) -> Result<(), SteerError> {
        steer::attach(&self.loader, &self.pins, slot, netns)
    }

    /// Makes `interfaces` those that bring connections of the pod's own, by index. To be called by a
    /// thread inside the pod's network namespace. Which connections are taken, options decide.
    pub fn set_rerouted(&self, slot: Slot, interfaces: &BTreeSet<u32>) -> Result<(), SteerError> {
        reroute::set(&self.loader, &self.pins, slot, interfaces)
    }

    /// No interface brings connections of the pod's own any more; those that live end.
    pub fn clear_rerouted(&self, slot: Slot) -> Result<(), SteerError> {
        reroute::clear(&self.pins, slot)
    }

    /// Connections reach the application as without the mesh. Forgets options and exclusions of
    /// the slot. No error if nothing was attached.
    pub fn detach_steer(&self, slot: Slot) -> Result<(), SteerError> {
        steer::detach(&self.pins, slot)?;
        self.maps.set_options(slot, PodOptions::default())?;
        Ok(self.maps.set_excluded(slot, &[])?)
    }

    /// Slots with a steer program in a living namespace, ordered; removes the others.
    pub fn steered(&self) -> Result<Vec<Slot>, SteerError> {
        steer::live(&self.pins)
    }

    /// Inode of the namespace (as in `/proc/<pid>/ns/net`) that the slot's program is attached
    /// to, if there is one.
    pub fn steer_netns(&self, slot: Slot) -> Result<Option<u32>, SteerError> {
        steer::target(&self.pins, slot)
    }

    /// Every counter, summed over all CPUs since the maps were made, in a fixed order.
    pub fn counters(&self) -> Result<Vec<(Counter, u64)>, MapAccessError> {
        self.maps.counters()
    }

    /// Detaches and unpins what builds with another ABI left. Call it when every pod is enrolled
    /// here: until then the old programs keep their pods captured. Returns what was removed.
    pub fn retire_other_versions(&self) -> Result<Vec<PathBuf>, RemoveError> {
        self.pins.remove_others()
    }

    /// Uninstalls: detaches and unpins everything. Pods behave as without the mesh.
    pub fn remove_all(self) -> Result<(), RemoveError> {
        self.pins.remove()
    }
}
