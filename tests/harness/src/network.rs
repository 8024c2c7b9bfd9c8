//! The lab's network: a core with a bridge, nodes on it, pods behind their nodes.
//! In: names and numbers. Out: namespaces, links, routes of that shape; nothing in the machine's own.
//! Owns: the namespaces called `ambit-<lab>--*`; removing one removes what is in it.
//! Never here: services, DNS, or anything of the mesh.
//!
//! ```text
//! core: br0 10.244.0.254/24 ── n1 ── node-1: eth0 10.244.0.1/24, lo 10.244.1.1/32 10.96.0.10/32
//!                            │         └ veth… ── pod: eth0 10.244.1.x/32, default via 10.244.1.1
//!                            └ n2 ── node-2 …
//! ```

pub mod pod;

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;

use thiserror::Error;

use crate::names::{CORE_ADDRESS, DNS_ADDRESS, LabName, NetnsName, NodeNumber};
use crate::netns::{self, EnterError};
use crate::tool::{self, ToolError};

/// Why the network is not there.
#[derive(Debug, Error)]
pub enum NetworkError {
    /// A command failed.
    #[error(transparent)]
    Tool(#[from] ToolError),
    /// A namespace cannot be entered.
    #[error(transparent)]
    Enter(#[from] EnterError),
    /// A kernel setting was refused.
    #[error("sysctl {key}")]
    Sysctl {
        /// Path under /proc/sys
        key: String,
        /// Why
        #[source]
        source: std::io::Error,
    },
}

/// Makes the core namespace with its bridge.
///
/// # Errors
/// [`NetworkError`].
pub fn create_core(lab: &LabName) -> Result<(), NetworkError> {
    let core = lab.core();
    tool::ip(None, &format!("netns add {}\n", core.as_str()))?;
    tool::ip(
        Some(&core),
        &format!(
            "link set lo up\n\
             link add br0 type bridge stp_state 0 forward_delay 0\n\
             addr add {CORE_ADDRESS}/24 dev br0\n\
             link set br0 up\n"
        ),
    )?;
    // Frames between nodes must not meet packet filters on the bridge.
    sysctl(
        &core,
        &[
            ("net/ipv4/ip_forward", "1"),
            ("net/ipv6/conf/all/disable_ipv6", "0"),
        ],
    )
}

/// Makes node `node` of `nodes` and joins it to the core.
///
/// # Errors
/// [`NetworkError`].
pub fn create_node(
    lab: &LabName,
    node: NodeNumber,
    nodes: &[NodeNumber],
) -> Result<NetnsName, NetworkError> {
    let (core, netns, port) = (lab.core(), lab.netns(&node.short()), node.short());
    tool::ip(None, &format!("netns add {}\n", netns.as_str()))?;
    tool::ip(
        Some(&core),
        &format!(
            "link add {port} type veth peer name eth0 netns {}\n\
             link set {port} master br0\n\
             link set {port} up\n\
             route add {}/24 via {}\n",
            netns.as_str(),
            node.pod_range(),
            node.address(),
        ),
    )
    // The route needs the node's address to be reachable, which br0 gives by itself.
    .map_err(NetworkError::from)?;
    sysctl(
        &netns,
        &[
            ("net/ipv4/ip_forward", "1"),
            ("net/ipv4/conf/all/rp_filter", "0"),
            ("net/ipv4/conf/default/rp_filter", "0"),
            ("net/ipv4/conf/all/send_redirects", "0"),
            ("net/ipv4/conf/default/send_redirects", "0"),
        ],
    )?;
    let mut batch = format!(
        "link set lo up\n\
         addr add {}/32 dev lo\n\
         addr add {DNS_ADDRESS}/32 dev lo\n\
         addr add {}/24 dev eth0\n\
         link set eth0 up\n\
         route add default via {CORE_ADDRESS}\n",
        node.pod_gateway(),
        node.address(),
    );
    for other in nodes.iter().filter(|n| **n != node) {
        batch.push_str(&format!(
            "route add {}/24 via {}\n",
            other.pod_range(),
            other.address()
        ));
    }
    tool::ip(Some(&netns), &batch)?;
    Ok(netns)
}

/// Removes a namespace and everything in it; processes that are still inside keep it alive unnamed.
///
/// # Errors
/// [`ToolError`].
pub fn remove(netns: &NetnsName) -> Result<(), ToolError> {
    if netns.path().exists() {
        tool::ip(None, &format!("netns del {}\n", netns.as_str()))?;
    }
    Ok(())
}

/// The namespaces of a lab that exist.
pub fn existing(lab: &LabName) -> Vec<NetnsName> {
    let prefix = lab.netns_prefix();
    let entries = lab.core().path().parent().map(fs::read_dir);
    let Some(Ok(entries)) = entries else {
        return Vec::new();
    };
    entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter_map(|name| name.strip_prefix(&prefix).map(|what| lab.netns(what)))
        .collect()
}

/// Writes kernel settings inside a namespace.
///
/// # Errors
/// [`NetworkError::Sysctl`] names the first that was refused.
pub fn sysctl(netns: &NetnsName, settings: &[(&str, &str)]) -> Result<(), NetworkError> {
    netns::inside(&netns.path(), || {
        for (key, value) in settings {
            fs::write(Path::new("/proc/sys").join(key), value).map_err(|source| {
                NetworkError::Sysctl {
                    key: (*key).to_owned(),
                    source,
                }
            })?;
        }
        Ok(())
    })?
}

/// Free addresses of one node's pod range.
#[derive(Debug)]
pub struct Addresses {
    node: NodeNumber,
    used: [bool; 256],
    next: u8,
}

impl Addresses {
    /// Every address of the range is free but the gateway's.
    pub fn new(node: NodeNumber) -> Self {
        Self {
            node,
            used: [false; 256],
            next: 2,
        }
    }

    /// Takes an address, the longest-unused first; `None` when all 253 are taken.
    pub fn take(&mut self) -> Option<Ipv4Addr> {
        for _ in 2..=254 {
            let host = self.next;
            self.next = if host == 254 { 2 } else { host + 1 };
            if !self.used[usize::from(host)] {
                self.used[usize::from(host)] = true;
                return Some(self.node.pod_address(host));
            }
        }
        None
    }

    /// Gives an address back.
    pub fn give_back(&mut self, address: Ipv4Addr) {
        self.used[usize::from(address.octets()[3])] = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_given_back_is_used_again_last() {
        let mut free = Addresses::new(NodeNumber::new(1));
        let first = free.take().unwrap();
        free.give_back(first);
        let mut rest = Vec::new();
        while let Some(address) = free.take() {
            rest.push(address);
        }
        assert_eq!(rest.len(), 253);
        assert_eq!(rest.last(), Some(&first));
    }
}
