//! Networks of a cluster: one bridge in the control plane's namespace, one link to each node.
//! In: the nodes. Out: network namespaces with links, addresses, routes; nothing in the machine's own.
//! Nodes have a default route, so that programs find their address, but nothing behind it: the
//! cluster cannot reach anything else.

use std::process::Command;

use anyhow::{Context as _, Result};

use crate::names::{CONTROL_PLANE, CONTROL_PLANE_V6, ClusterName, NodeNumber, Role};
use crate::process;
use crate::state::Shape;

/// Makes everything; nothing of it may be there.
pub(crate) fn make(name: &ClusterName, shape: &Shape) -> Result<()> {
    let core = name.of(Role::ControlPlane);
    add(&core)?;
    batch(&core, &control_plane(shape))?;
    forward(&core, shape)?;
    for node in shape.nodes.iter().copied() {
        let netns = name.of(Role::Node(node));
        add(&netns)?;
        batch(&core, &link(node, &netns, shape))?;
        batch(&netns, &inside(node, shape))?;
        forward(&netns, shape)?;
    }
    Ok(())
}

/// Removes every network namespace of the cluster.
pub(crate) fn remove(name: &ClusterName) -> Result<()> {
    for netns in namespaces()?
        .iter()
        .filter(|netns| netns.starts_with(&name.prefix()))
    {
        process::output(Command::new("ip").args(["netns", "del", netns]))?;
    }
    Ok(())
}

/// Names of the network namespaces of the machine.
pub(crate) fn namespaces() -> Result<Vec<String>> {
    let list = process::output(Command::new("ip").args(["netns", "list"]))?;
    Ok(list
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect())
}

fn add(netns: &str) -> Result<()> {
    process::output(Command::new("ip").args(["netns", "add", netns])).map(drop)
}

fn batch(netns: &str, lines: &[String]) -> Result<()> {
    let mut command = Command::new("ip");
    command.args(["-n", netns, "-batch", "-"]);
    process::feed(&mut command, &lines.join("\n"))
        .with_context(|| lines.join("\n"))
        .map(drop)
}

/// Makes the namespace forward. Sysctls of the network belong to the namespace of the thread that writes.
fn forward(netns: &str, shape: &Shape) -> Result<()> {
    let mut settings = vec![
        ("ipv4/ip_forward", "1"),
        ("ipv4/conf/all/rp_filter", "0"),
        ("ipv4/conf/default/rp_filter", "0"),
    ];
    if shape.dual_stack {
        settings.push(("ipv6/conf/all/forwarding", "1"));
    }
    for (key, value) in settings {
        let path = format!("/proc/sys/net/{key}");
        let mut command = Command::new("ip");
        command.args(["netns", "exec", netns, "tee", &path]);
        process::feed(&mut command, value)?;
    }
    Ok(())
}

fn control_plane(shape: &Shape) -> Vec<String> {
    let mut lines = vec![
        "link set lo up".to_owned(),
        "link add kbr0 type bridge".to_owned(),
        format!("addr add {CONTROL_PLANE}/24 dev kbr0"),
        "link set kbr0 up".to_owned(),
    ];
    if shape.dual_stack {
        lines.push(format!("addr add {CONTROL_PLANE_V6}/64 dev kbr0 nodad"));
    }
    lines
}

/// What the control plane's namespace gets for a node.
fn link(node: NodeNumber, netns: &str, shape: &Shape) -> Vec<String> {
    let mut lines = vec![
        format!("link add v-{node} type veth peer name eth0 netns {netns}"),
        format!("link set v-{node} master kbr0 up"),
    ];
    lines.extend(routes(node, shape));
    lines
}

/// What the node's own namespace gets.
fn inside(node: NodeNumber, shape: &Shape) -> Vec<String> {
    let mut lines = vec![
        "link set lo up".to_owned(),
        format!("addr add {}/24 dev eth0", node.address()),
        "link set eth0 up".to_owned(),
        format!("route add 0.0.0.0/0 via {CONTROL_PLANE}"),
    ];
    if shape.dual_stack {
        lines.push(format!("addr add {}/64 dev eth0 nodad", node.address_v6()));
        lines.push(format!("route add ::/0 via {CONTROL_PLANE_V6}"));
    }
    let others = shape.nodes.iter().filter(|other| **other != node);
    lines.extend(others.flat_map(|other| routes(*other, shape)));
    lines
}

/// Where the pods of a node are, for everybody else.
fn routes(node: NodeNumber, shape: &Shape) -> Vec<String> {
    let mut lines = vec![format!("route add {} via {}", node.pods(), node.address())];
    if shape.dual_stack {
        lines.push(format!(
            "route add {} via {}",
            node.pods_v6(),
            node.address_v6()
        ));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::{inside, link};
    use crate::names::NodeNumber;
    use crate::state::{ApiOptions, Shape};

    fn shape(dual_stack: bool) -> Shape {
        Shape {
            nodes: NodeNumber::first(3).unwrap(),
            dual_stack,
            api: ApiOptions::default(),
        }
    }

    #[test]
    fn a_node_reaches_the_pods_of_the_others() {
        let shape = shape(true);
        let lines = inside(shape.nodes[1], &shape);
        assert!(lines.contains(&"addr add 10.90.0.12/24 dev eth0".to_owned()));
        assert!(lines.contains(&"route add 10.244.1.0/24 via 10.90.0.11".to_owned()));
        assert!(lines.contains(&"route add 10.244.3.0/24 via 10.90.0.13".to_owned()));
        assert!(lines.contains(&"route add fd44:0:0:3::/64 via fd90::1:3".to_owned()));
        assert!(!lines.iter().any(|line| line.contains("10.244.2.0/24")));
    }

    #[test]
    fn the_control_plane_reaches_the_pods_of_a_node_in_the_families_there_are() {
        let shape = shape(false);
        let lines = link(shape.nodes[0], "kb-ambit-n1", &shape);
        assert_eq!(lines[2..], ["route add 10.244.1.0/24 via 10.90.0.11"]);
    }
}
