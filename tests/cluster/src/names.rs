//! Names and addresses of a cluster's parts.
//! In: a cluster's name, a node's number. Out: names of namespaces and groups, addresses.
//! Addresses are the same in every cluster: each has networks of its own.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

/// ClusterIP of the API server (`default/kubernetes`).
pub(crate) const API_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 1);
/// ClusterIP of the cluster's DNS.
pub(crate) const DNS_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 96, 0, 10);
/// Where ClusterIPs come from.
pub(crate) const SERVICES: &str = "10.96.0.0/16";
/// Where pod addresses come from.
pub(crate) const PODS: &str = "10.244.0.0/16";
/// The same of a cluster with both families.
pub(crate) const SERVICES_V6: &str = "fd96::/112";
/// The same of a cluster with both families.
pub(crate) const PODS_V6: &str = "fd44::/48";
/// The control plane on the network of the nodes, where that has IPv6.
pub(crate) const CONTROL_PLANE_V6: Ipv6Addr = Ipv6Addr::new(0xfd90, 0, 0, 0, 0, 0, 0, 1);
/// The control plane on the network of the nodes.
pub(crate) const CONTROL_PLANE: Ipv4Addr = Ipv4Addr::new(10, 90, 0, 1);

/// Name of a cluster: one to eight lower-case letters and digits.
///
/// Short, so that names of groups stay readable; without `-`, so that no cluster's names begin with
/// those of another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterName(String);

impl FromStr for ClusterName {
    type Err = anyhow::Error;

    fn from_str(name: &str) -> Result<Self> {
        let good = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        if name.is_empty() || name.len() > 8 || !name.chars().all(good) {
            bail!("the name of a cluster is one to eight lower-case letters and digits: {name:?}");
        }
        Ok(Self(name.to_owned()))
    }
}

impl fmt::Display for ClusterName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl ClusterName {
    /// What every name of this cluster begins with.
    pub(crate) fn prefix(&self) -> String {
        format!("kb-{}-", self.0)
    }

    /// Network namespace and control group of a part: `kb-<name>-cp`, `kb-<name>-n1`.
    #[must_use]
    pub fn of(&self, role: Role) -> String {
        format!("{}{role}", self.prefix())
    }
}

/// Number of a node, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct NodeNumber(u8);

impl NodeNumber {
    /// The most nodes a cluster can have.
    pub const MOST: u8 = 9;

    /// The numbers of `count` nodes.
    ///
    /// # Errors
    /// No node, or more than [`NodeNumber::MOST`].
    pub fn first(count: u8) -> Result<Vec<Self>> {
        if count == 0 || count > Self::MOST {
            bail!("a cluster has 1 to {} nodes, not {count}", Self::MOST);
        }
        Ok((1..=count).map(Self).collect())
    }

    /// Address on the network of the nodes.
    pub(crate) fn address(self) -> Ipv4Addr {
        Ipv4Addr::new(10, 90, 0, 10 + self.0)
    }

    /// Its other address in a cluster with both families.
    pub(crate) fn address_v6(self) -> Ipv6Addr {
        Ipv6Addr::new(0xfd90, 0, 0, 0, 0, 0, 1, self.0.into())
    }

    /// Where the other addresses of its pods come from.
    pub(crate) fn pods_v6(self) -> String {
        format!("fd44:0:0:{}::/64", self.0)
    }

    /// Where the addresses of its pods come from.
    pub(crate) fn pods(self) -> String {
        format!("10.244.{}.0/24", self.0)
    }
}

impl fmt::Display for NodeNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

impl FromStr for NodeNumber {
    type Err = anyhow::Error;

    /// Takes `2` and `n2`.
    fn from_str(text: &str) -> Result<Self> {
        match text.strip_prefix('n').unwrap_or(text).parse() {
            Ok(number) if (1..=Self::MOST).contains(&number) => Ok(Self(number)),
            _ => bail!("a node is n1 to n{}: {text:?}", Self::MOST),
        }
    }
}

/// A part of the cluster with namespaces of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// etcd, API server, controllers, scheduler
    ControlPlane,
    /// containerd, kubelet, kube-proxy and pods
    Node(NodeNumber),
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ControlPlane => f.write_str("cp"),
            Self::Node(number) => number.fmt(f),
        }
    }
}

impl FromStr for Role {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        if text == "cp" {
            return Ok(Self::ControlPlane);
        }
        text.parse().map(Self::Node)
    }
}

#[cfg(test)]
mod tests {
    use super::{ClusterName, NodeNumber, Role};

    #[test]
    fn a_name_cannot_begin_with_another_clusters_names() {
        assert!("ambit".parse::<ClusterName>().is_ok());
        for bad in ["", "a-b", "A", "a/b", "ninechars", "..", "ä"] {
            assert!(bad.parse::<ClusterName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn nodes_are_numbered_from_one() {
        let nodes = NodeNumber::first(2).unwrap();
        assert_eq!(nodes[0].address().to_string(), "10.90.0.11");
        assert_eq!(nodes[1].pods(), "10.244.2.0/24");
        assert!(NodeNumber::first(0).is_err() && NodeNumber::first(10).is_err());
        assert_eq!("2".parse::<NodeNumber>().unwrap(), nodes[1]);
        assert!("n0".parse::<NodeNumber>().is_err() && "nn1".parse::<NodeNumber>().is_err());
    }

    #[test]
    fn roles_are_read_as_they_are_written() {
        for text in ["cp", "n1", "n9"] {
            assert_eq!(text.parse::<Role>().unwrap().to_string(), text);
        }
        let name: ClusterName = "ambit".parse().unwrap();
        assert_eq!(name.of(Role::ControlPlane), "kb-ambit-cp");
    }
}
