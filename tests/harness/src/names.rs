//! Names, paths and addresses of one lab. Pure.
//! In: the lab's name, node numbers, pod uids. Out: every name the lab gives to something of the
//! machine, so that making it and sweeping it up after a crash cannot disagree.
//! Never here: touching the machine.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::str::FromStr;

use ambit_api::ports;
use thiserror::Error;

/// Where labs keep their sockets, logs and tokens.
const RUN_ROOT: &str = "/run/ambit";
/// Where `ip netns` keeps namespaces.
const NETNS_ROOT: &str = "/run/netns";

/// A lab's name: 1 to 24 of `a-z`, `0-9` and `-`, starting with a letter.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LabName(String);

/// Why a text is no lab name.
#[derive(Debug, Error)]
#[error("{0:?} is no lab name: 1 to 24 of a-z, 0-9 and -, starting with a letter")]
pub struct LabNameError(String);

impl FromStr for LabName {
    type Err = LabNameError;

    fn from_str(raw: &str) -> Result<Self, LabNameError> {
        let good = raw.len() <= 24
            && raw.starts_with(|c: char| c.is_ascii_lowercase())
            && raw
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if good {
            Ok(Self(raw.to_owned()))
        } else {
            Err(LabNameError(raw.to_owned()))
        }
    }
}

impl fmt::Display for LabName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl LabName {
    /// Prefix of every name this lab gives to a network namespace.
    pub fn netns_prefix(&self) -> String {
        format!("ambit-{self}--")
    }

    /// The namespace called `what` (`core`, a node or a pod).
    pub fn netns(&self, what: &str) -> NetnsName {
        NetnsName(format!("{}{what}", self.netns_prefix()))
    }

    /// The core namespace: bridge, controller, capture point.
    pub fn core(&self) -> NetnsName {
        self.netns("core")
    }

    /// Everything of this lab on disk.
    pub fn run_dir(&self) -> PathBuf {
        Path::new(RUN_ROOT).join("lab").join(&self.0)
    }

    /// The description of the running lab, read by the `ambit` command.
    pub fn lab_file(&self) -> PathBuf {
        labs_dir().join(format!("{self}.json"))
    }

    /// Name of this lab's subtree under the cgroup2 mount.
    pub fn cgroup(&self) -> String {
        format!("ambit-{self}")
    }
}

/// Directory of the descriptions of running labs.
pub fn labs_dir() -> PathBuf {
    Path::new(RUN_ROOT).join("labs")
}

/// A named network namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NetnsName(String);

impl NetnsName {
    /// The name as `ip netns` knows it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The file that holds the namespace open.
    pub fn path(&self) -> PathBuf {
        Path::new(NETNS_ROOT).join(&self.0)
    }
}

/// A node's number, from 1; part of its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeNumber(u8);

impl NodeNumber {
    /// Number `n` from 1 to 250; others are moved to the nearest.
    pub fn new(n: u8) -> Self {
        Self(n.clamp(1, 250))
    }

    /// `node-1`: the Kubernetes name.
    pub fn name(self) -> String {
        format!("node-{}", self.0)
    }

    /// `n1`: short name for interfaces, namespaces, directories.
    pub fn short(self) -> String {
        format!("n{}", self.0)
    }

    /// The node's own IPv4 address.
    pub fn address(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 244, 0, self.0)
    }

    /// Its pods' IPv4 range, without the length 24.
    pub fn pod_range(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 244, self.0, 0)
    }

    /// The address pods route through.
    pub fn pod_gateway(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 244, self.0, 1)
    }

    /// Address number `host` (2 to 254) of its pod range.
    pub fn pod_address(self, host: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, 244, self.0, host)
    }

    /// The node an address of a pod range belongs to.
    pub fn of_pod(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(v4) => match v4.octets() {
                [10, 244, n, _] if n > 0 => Some(Self(n)),
                _ => None,
            },
            IpAddr::V6(_) => None,
        }
    }
}

/// The controller's address in the core namespace; also the nodes' default gateway.
pub const CORE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 254);
/// Cluster DNS, on every node.
pub const DNS_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
/// DNS suffix of the cluster.
pub const CLUSTER_DOMAIN: &str = "cluster.local";
/// Namespace of the mesh's own accounts.
pub const SYSTEM_NAMESPACE: &str = "istio-system";

/// Where xDS and the CA are served in a lab that has IPv4.
pub fn xds_address() -> SocketAddr {
    (CORE_ADDRESS, ports::XDS).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lab_names_are_safe_in_paths_and_interface_names() {
        for good in ["demo", "t-12345-ab", "a"] {
            assert!(good.parse::<LabName>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "-a",
            "1a",
            "A",
            "a/b",
            "a..b",
            "abcdefghijklmnopqrstuvwxy",
        ] {
            assert!(bad.parse::<LabName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn one_labs_prefix_is_never_the_start_of_another_labs() {
        let short: LabName = "a".parse().unwrap();
        let long: LabName = "a-b".parse().unwrap();
        assert!(!long.core().as_str().starts_with(&short.netns_prefix()));
    }

    #[test]
    fn a_pod_address_leads_back_to_its_node() {
        let node = NodeNumber::new(2);
        assert_eq!(NodeNumber::of_pod(node.pod_address(7).into()), Some(node));
        assert_eq!(NodeNumber::of_pod(node.address().into()), None);
    }
}
