//! Network addresses as the mesh keys them: an IP inside a network, or a CIDR block.

use crate::ids::NetworkId;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// An IP address within one network. IPs of different networks may collide.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NetworkAddress {
    /// Which network.
    pub network: NetworkId,
    /// Canonical: never a v4-mapped IPv6 address.
    pub ip: IpAddr,
}

impl NetworkAddress {
    /// Canonicalises v4-mapped IPv6.
    pub fn new(network: NetworkId, ip: IpAddr) -> Self {
        Self {
            network,
            ip: ip.to_canonical(),
        }
    }
}

impl fmt::Display for NetworkAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.ip)
    }
}

impl fmt::Debug for NetworkAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A virtual address of a service: one IP or a block (`istio.workload.NetworkAddress`).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct VirtualAddress {
    /// Which network.
    pub network: NetworkId,
    /// A full-length prefix for a single address.
    pub block: IpNet,
}

impl VirtualAddress {
    /// The address, when the block holds exactly one.
    pub fn single(&self) -> Option<NetworkAddress> {
        (self.block.prefix_len() == self.block.max_prefix_len())
            .then(|| NetworkAddress::new(self.network.clone(), self.block.addr()))
    }
}
