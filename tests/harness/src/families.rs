//! Address families of a lab, and its addresses in each. Pure.
//! In: a choice, node and host numbers. Out: every address the lab gives to something; IPv4 comes first
//! where there are both, as on a node whose kubelet was given `--node-ip=v4,v6`.
//! Never here: touching the machine.
//! Spec: `spec.podCIDRs` of Nodes, `status.podIPs` of Pods: at most one address a family, the first is primary.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use ambit_api::ports;
use thiserror::Error;

use crate::names::{CORE_ADDRESS, DNS_ADDRESS, NodeNumber};

/// Which families nodes, pods and Services of a lab have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Families {
    /// IPv4
    #[default]
    V4,
    /// Both, IPv4 first
    Dual,
    /// IPv6, on the nodes as well
    V6,
}

/// Why a text names no families.
#[derive(Debug, Error)]
#[error("{0:?} is none of ipv4, ipv6, dual")]
pub struct FamiliesError(String);

impl FromStr for Families {
    type Err = FamiliesError;

    fn from_str(raw: &str) -> Result<Self, FamiliesError> {
        match raw.to_ascii_lowercase().as_str() {
            "ipv4" => Ok(Self::V4),
            "ipv6" => Ok(Self::V6),
            "dual" => Ok(Self::Dual),
            _ => Err(FamiliesError(raw.to_owned())),
        }
    }
}

impl Families {
    /// Whether IPv4 is among them.
    pub fn v4(self) -> bool {
        self != Self::V6
    }

    /// Whether IPv6 is among them.
    pub fn v6(self) -> bool {
        self != Self::V4
    }

    /// What both have; the own choice if they have nothing in common.
    #[must_use]
    pub fn narrowed(self, wanted: Self) -> Self {
        match (self, wanted) {
            (Self::Dual, other) => other,
            (own, _) => own,
        }
    }

    /// Those of a pair that are in these families, IPv4 first.
    pub fn of(self, v4: Ipv4Addr, v6: Ipv6Addr) -> Vec<IpAddr> {
        let v4 = self.v4().then_some(IpAddr::V4(v4));
        let v6 = self.v6().then_some(IpAddr::V6(v6));
        v4.into_iter().chain(v6).collect()
    }

    fn primary(self, v4: Ipv4Addr, v6: Ipv6Addr) -> IpAddr {
        if self.v4() { v4.into() } else { v6.into() }
    }

    /// A node's own addresses.
    pub fn node(self, node: NodeNumber) -> Vec<IpAddr> {
        self.of(node.address(), node_address(node))
    }

    /// Addresses of host number `host` of a node's pod ranges.
    pub fn pod(self, node: NodeNumber, host: u8) -> Vec<IpAddr> {
        self.of(node.pod_address(host), pod_address(node, host))
    }

    /// `spec.podCIDRs`.
    pub fn pod_ranges(self, node: NodeNumber) -> Vec<String> {
        let v4 = self.v4().then(|| format!("{}/24", node.pod_range()));
        let v6 = self
            .v6()
            .then(|| format!("{}/{POD_RANGE_BITS}", pod_range(node)));
        v4.into_iter().chain(v6).collect()
    }

    /// Where cluster DNS listens.
    pub fn dns(self) -> Vec<IpAddr> {
        self.of(DNS_ADDRESS, DNS_ADDRESS_V6)
    }

    /// The nameserver of pods: IPv4 as long as there is any, because only that one is captured.
    pub fn nameserver(self) -> IpAddr {
        self.primary(DNS_ADDRESS, DNS_ADDRESS_V6)
    }

    /// Where xDS and the CA are served.
    pub fn xds_address(self) -> SocketAddr {
        (self.core(), ports::XDS).into()
    }

    /// Where the controller's metrics and debug pages are served.
    pub fn controller_http(self) -> SocketAddr {
        (self.core(), ports::CONTROL_METRICS).into()
    }

    fn core(self) -> IpAddr {
        self.primary(CORE_ADDRESS, CORE_ADDRESS_V6)
    }
}

/// The controller's IPv6 address in the core namespace; also the nodes' default gateway.
pub const CORE_ADDRESS_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 0x244, 0, 0, 0, 0, 0xfe);
/// Cluster DNS over IPv6, on every node.
pub const DNS_ADDRESS_V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 0, 0xa);
/// What pods route through: the node's end of their link.
pub const POD_GATEWAY_V6: Ipv6Addr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1);
/// Length of the core's range.
pub const CORE_RANGE_BITS: u8 = 64;
/// Length of a node's pod range.
pub const POD_RANGE_BITS: u8 = 64;

/// A node's own IPv6 address.
pub fn node_address(node: NodeNumber) -> Ipv6Addr {
    let [_, _, _, n] = node.address().octets();
    Ipv6Addr::new(0xfd00, 0x10, 0x244, 0, 0, 0, 0, n.into())
}

/// A node's IPv6 pod range, without its length.
pub fn pod_range(node: NodeNumber) -> Ipv6Addr {
    pod_address(node, 0)
}

/// The node's address in its own pod range: where its probes come from.
pub fn pod_gateway(node: NodeNumber) -> Ipv6Addr {
    pod_address(node, 1)
}

fn pod_address(node: NodeNumber, host: u8) -> Ipv6Addr {
    let [_, _, n, _] = node.pod_range().octets();
    Ipv6Addr::new(0xfd00, 0x10, 0x244, n.into(), 0, 0, 0, host.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_address_is_ipv4_wherever_there_is_one() {
        let node = NodeNumber::new(2);
        let text = |ips: Vec<IpAddr>| ips.iter().map(IpAddr::to_string).collect::<Vec<_>>();
        assert_eq!(text(Families::V4.pod(node, 7)), ["10.244.2.7"]);
        assert_eq!(
            text(Families::Dual.pod(node, 7)),
            ["10.244.2.7", "fd00:10:244:2::7"]
        );
        assert_eq!(text(Families::V6.node(node)), ["fd00:10:244::2"]);
        assert_eq!(
            Families::V6.xds_address().to_string(),
            "[fd00:10:244::fe]:15012"
        );
        assert_eq!(Families::V6.pod_ranges(node), ["fd00:10:244:2::/64"]);
    }

    #[test]
    fn a_pod_can_have_fewer_families_than_its_node_and_never_others() {
        assert_eq!(Families::Dual.narrowed(Families::V4), Families::V4);
        assert_eq!(Families::V4.narrowed(Families::V6), Families::V4);
        assert_eq!(Families::V6.narrowed(Families::Dual), Families::V6);
    }
}
