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
//! With IPv6 the same at `fd00:10:244::fe/64`, `fd00:10:244::1/64`, `fd00:10:244:1::x/128` (default via
//! `fe80::1`, because a node answers for an address only on the link that has it), `fd00:10:96::a`.

pub mod pod;

use std::fs;
use std::path::Path;

use thiserror::Error;

use crate::families::{
    self, CORE_ADDRESS_V6, CORE_RANGE_BITS, DNS_ADDRESS_V6, Families, POD_RANGE_BITS,
};
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
pub fn create_core(lab: &LabName, families: Families) -> Result<(), NetworkError> {
    let core = lab.core();
    tool::ip(None, &format!("netns add {}\n", core.as_str()))?;
    sysctl(&core, &ROUTER)?;
    // Frames between nodes must not meet packet filters on the bridge, nor be lost by its snooping.
    let mut batch = "link set lo up\n\
         link add br0 type bridge stp_state 0 forward_delay 0 mcast_snooping 0\n"
        .to_owned();
    if families.v4() {
        batch.push_str(&format!("addr add {CORE_ADDRESS}/24 dev br0\n"));
    }
    if families.v6() {
        batch.push_str(&format!(
            "addr add {CORE_ADDRESS_V6}/{CORE_RANGE_BITS} dev br0 nodad\n"
        ));
    }
    batch.push_str("link set br0 up\n");
    Ok(tool::ip(Some(&core), &batch)?)
}

/// Makes node `node` of `nodes` and joins it to the core.
///
/// # Errors
/// [`NetworkError`].
pub fn create_node(
    lab: &LabName,
    node: NodeNumber,
    nodes: &[NodeNumber],
    families: Families,
) -> Result<NetnsName, NetworkError> {
    let (core, netns, port) = (lab.core(), lab.netns(&node.short()), node.short());
    tool::ip(None, &format!("netns add {}\n", netns.as_str()))?;
    sysctl(&netns, &ROUTER)?;
    let name = netns.as_str();
    tool::ip(
        Some(&core),
        &format!(
            "link add {port} type veth peer name eth0 netns {name}\n\
             link set {port} master br0\n\
             link set {port} up\n{}",
            routes(&[node], families)
        ),
    )?;
    let mut batch = "link set lo up\n".to_owned();
    if families.v4() {
        batch.push_str(&format!(
            "addr add {}/32 dev lo\n\
             addr add {DNS_ADDRESS}/32 dev lo\n\
             addr add {}/24 dev eth0\n",
            node.pod_gateway(),
            node.address(),
        ));
    }
    if families.v6() {
        batch.push_str(&format!(
            "addr add {}/128 dev lo nodad\n\
             addr add {DNS_ADDRESS_V6}/128 dev lo nodad\n\
             addr add {}/{CORE_RANGE_BITS} dev eth0 nodad\n",
            families::pod_gateway(node),
            families::node_address(node),
        ));
    }
    batch.push_str("link set eth0 up\n");
    if families.v4() {
        batch.push_str(&format!("route add default via {CORE_ADDRESS}\n"));
    }
    if families.v6() {
        batch.push_str(&format!("route add default via {CORE_ADDRESS_V6}\n"));
    }
    let others: Vec<NodeNumber> = nodes.iter().copied().filter(|n| *n != node).collect();
    batch.push_str(&routes(&others, families));
    tool::ip(Some(&netns), &batch)?;
    Ok(netns)
}

/// Routes to the pods of these nodes.
fn routes(nodes: &[NodeNumber], families: Families) -> String {
    let mut batch = String::new();
    for node in nodes {
        if families.v4() {
            let (range, via) = (node.pod_range(), node.address());
            batch.push_str(&format!("route add {range}/24 via {via}\n"));
        }
        if families.v6() {
            let (range, via) = (families::pod_range(*node), families::node_address(*node));
            batch.push_str(&format!("route add {range}/{POD_RANGE_BITS} via {via}\n"));
        }
    }
    batch
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

/// Settings of a namespace that routes for others. Links made afterwards have them.
const ROUTER: [(&str, &str); 9] = [
    ("net/ipv4/ip_forward", "1"),
    ("net/ipv4/conf/all/rp_filter", "0"),
    ("net/ipv4/conf/default/rp_filter", "0"),
    ("net/ipv4/conf/all/send_redirects", "0"),
    ("net/ipv4/conf/default/send_redirects", "0"),
    ("net/ipv6/conf/all/disable_ipv6", "0"),
    ("net/ipv6/conf/all/forwarding", "1"),
    // Addresses are the lab's own: nobody else can have them.
    ("net/ipv6/conf/default/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_ra", "0"),
];

/// Free host numbers of one node's pod ranges.
#[derive(Debug)]
pub struct Addresses {
    used: [bool; 256],
    next: u8,
}

impl Addresses {
    /// Takes a number, the longest-unused first; `None` when all 253 are taken.
    pub fn take(&mut self) -> Option<u8> {
        for _ in 2..=254 {
            let host = self.next;
            self.next = if host == 254 { 2 } else { host + 1 };
            if !self.used[usize::from(host)] {
                self.used[usize::from(host)] = true;
                return Some(host);
            }
        }
        None
    }

    /// Gives a number back.
    pub fn give_back(&mut self, host: u8) {
        self.used[usize::from(host)] = false;
    }
}

impl Default for Addresses {
    /// All are free but the gateway's.
    fn default() -> Self {
        Self {
            used: [false; 256],
            next: 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_given_back_is_used_again_last() {
        let mut free = Addresses::default();
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
