//! The first plugin of the CNI chain: a pod's namespace and its link to the node.
//! In: the node, the pod's short id, its address. Out: namespace, veth pair, routes, and the CNI
//! result that the next plugin gets as `prevResult`.
//! Never here: capture; that is the chained plugin's.
//! Spec: CNI 1.0.0 result; the shape is the reference `ptp` plugin's.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::NetworkError;
use crate::names::{NetnsName, NodeNumber};
use crate::tool;

/// A pod's place in the network.
#[derive(Clone, Debug)]
pub struct PodLink {
    /// The node's number
    pub node: NodeNumber,
    /// The node's namespace
    pub node_netns: NetnsName,
    /// The pod's namespace
    pub pod_netns: NetnsName,
    /// The node's end of the pair; at most 15 bytes
    pub host_interface: String,
    /// The pod's address
    pub address: Ipv4Addr,
}

/// Makes namespace and link.
///
/// # Errors
/// [`NetworkError`]; [`remove`] cleans up whatever was made.
pub fn create(link: &PodLink) -> Result<(), NetworkError> {
    let (pod, veth, address) = (link.pod_netns.as_str(), &link.host_interface, link.address);
    let gateway = link.node.pod_gateway();
    tool::ip(None, &format!("netns add {pod}\n"))?;
    tool::ip(
        Some(&link.node_netns),
        &format!(
            "link add {veth} type veth peer name eth0 netns {pod}\n\
             link set {veth} up\n\
             route add {address}/32 dev {veth} src {gateway}\n"
        ),
    )?;
    tool::ip(
        Some(&link.pod_netns),
        &format!(
            "link set lo up\n\
             addr add {address}/32 dev eth0\n\
             link set eth0 up\n\
             route add {gateway}/32 dev eth0 scope link src {address}\n\
             route add default via {gateway} dev eth0 src {address}\n"
        ),
    )?;
    Ok(())
}

/// Removes namespace and link; what is gone already is no error.
///
/// # Errors
/// [`NetworkError`].
pub fn remove(link: &PodLink) -> Result<(), NetworkError> {
    // The pair may outlive the namespace's name while a process is inside: the node's end goes first.
    let _ = tool::ip(
        Some(&link.node_netns),
        &format!("link del {}\n", link.host_interface),
    );
    Ok(super::remove(&link.pod_netns)?)
}

/// The CNI result of [`create`].
///
/// # Errors
/// [`NetworkError`] if a namespace is gone.
pub fn result(link: &PodLink) -> Result<Value, NetworkError> {
    let mac = |netns: &NetnsName, interface: &str| {
        let show = ["-n", netns.as_str(), "-o", "link", "show", "dev", interface];
        tool::run("ip", &show, "").map(|line| parse_mac(&line))
    };
    Ok(json!({
        "cniVersion": "1.0.0",
        "interfaces": [
            {"name": link.host_interface, "mac": mac(&link.node_netns, &link.host_interface)?},
            {"name": "eth0", "mac": mac(&link.pod_netns, "eth0")?, "sandbox": link.pod_netns.path()},
        ],
        "ips": [{
            "address": format!("{}/32", link.address),
            "gateway": link.node.pod_gateway(),
            "interface": 1,
        }],
        "routes": [{"dst": "0.0.0.0/0", "gw": link.node.pod_gateway()}],
        "dns": {},
    }))
}

fn parse_mac(line: &str) -> Option<String> {
    let mut words = line
        .split_whitespace()
        .skip_while(|word| *word != "link/ether");
    words.nth(1).map(str::to_owned)
}
