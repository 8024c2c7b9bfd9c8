//! The first plugin of the CNI chain: a pod's namespace and its link to the node.
//! In: the node, the pod's short id, its addresses. Out: namespace, veth pair, routes, and the CNI
//! result that the next plugin gets as `prevResult`.
//! Never here: capture; that is the chained plugin's.
//! Spec: CNI 1.0.0 result; the shape is the reference `ptp` plugin's.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::NetworkError;
use crate::families::{self, Families, POD_GATEWAY_V6};
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
    /// The pod's number in the node's pod ranges
    pub host: u8,
    /// Which families it has an address of
    pub families: Families,
    /// Which its node has
    pub of_node: Families,
}

impl PodLink {
    /// The pod's addresses, the primary one first.
    pub fn addresses(&self) -> Vec<IpAddr> {
        self.families.pod(self.node, self.host)
    }

    /// What the pod routes an address's family through.
    fn gateway(&self, address: IpAddr) -> IpAddr {
        match address {
            IpAddr::V4(_) => self.node.pod_gateway().into(),
            IpAddr::V6(_) => POD_GATEWAY_V6.into(),
        }
    }
}

/// Makes namespace and link.
///
/// # Errors
/// [`NetworkError`]; [`remove`] cleans up whatever was made.
pub fn create(link: &PodLink) -> Result<(), NetworkError> {
    let (pod, veth) = (link.pod_netns.as_str(), &link.host_interface);
    tool::ip(None, &format!("netns add {pod}\n"))?;
    let mut settings = vec![("net/ipv6/conf/default/accept_dad", "0")];
    if link.of_node.v6() && !link.families.v6() {
        // As network plugins do it: not even a loopback address.
        settings.push(("net/ipv6/conf/all/disable_ipv6", "1"));
        settings.push(("net/ipv6/conf/default/disable_ipv6", "1"));
    }
    super::sysctl(&link.pod_netns, &settings)?;
    let mut node = format!(
        "link add {veth} type veth peer name eth0 netns {pod}\n\
         link set {veth} up\n"
    );
    let mut inside = "link set lo up\n".to_owned();
    for address in link.addresses() {
        inside.push_str(&match address {
            IpAddr::V4(ip) => format!("addr add {ip}/32 dev eth0\n"),
            IpAddr::V6(ip) => format!("addr add {ip}/128 dev eth0 nodad\n"),
        });
    }
    inside.push_str("link set eth0 up\n");
    for address in link.addresses() {
        let gateway = link.gateway(address);
        match address {
            IpAddr::V4(_) => {
                node.push_str(&format!(
                    "route add {address}/32 dev {veth} src {gateway}\n"
                ));
                inside.push_str(&format!(
                    "route add {gateway}/32 dev eth0 scope link src {address}\n"
                ));
            }
            IpAddr::V6(_) => node.push_str(&format!(
                "addr add {gateway}/64 dev {veth} nodad\n\
                 route add {address}/128 dev {veth} src {}\n",
                families::pod_gateway(link.node)
            )),
        }
        inside.push_str(&format!(
            "route add default via {gateway} dev eth0 src {address}\n"
        ));
    }
    tool::ip(Some(&link.node_netns), &node)?;
    tool::ip(Some(&link.pod_netns), &inside)?;
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
    let (mut ips, mut routes) = (Vec::new(), Vec::new());
    for address in link.addresses() {
        let gateway = link.gateway(address);
        let (bits, all) = match address {
            IpAddr::V4(_) => (32, "0.0.0.0/0"),
            IpAddr::V6(_) => (128, "::/0"),
        };
        ips.push(
            json!({"address": format!("{address}/{bits}"), "gateway": gateway, "interface": 1}),
        );
        routes.push(json!({"dst": all, "gw": gateway}));
    }
    Ok(json!({
        "cniVersion": "1.0.0",
        "interfaces": [
            {"name": link.host_interface, "mac": mac(&link.node_netns, &link.host_interface)?},
            {"name": "eth0", "mac": mac(&link.pod_netns, "eth0")?, "sandbox": link.pod_netns.path()},
        ],
        "ips": ips,
        "routes": routes,
        "dns": {},
    }))
}

fn parse_mac(line: &str) -> Option<String> {
    let mut words = line
        .split_whitespace()
        .skip_while(|word| *word != "link/ether");
    words.nth(1).map(str::to_owned)
}
