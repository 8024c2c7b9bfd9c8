//! What a mesh has on a node, looked for by the node's own means.

use ambit_cluster::NodeNumber;
use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::site::Site;

/// Pinned programs and maps and what was written down of pods, with the directories of both; files, rules in
/// pods; one a line.
const EVERYTHING: &str = "
    find /sys/fs/bpf/ambit /var/run/ambit/pods 2>/dev/null || true
    find /opt/cni/bin -name 'ambit*'
    for pod in /run/netns/*; do
        nsenter --net=$pod ip rule | grep fwmark || true
    done";
/// Rules alone.
const RULES: &str = "
    for pod in /run/netns/*; do
        nsenter --net=$pod ip rule | grep fwmark || true
    done";

/// Everything on a node.
pub(crate) fn everything(site: &Site, node: NodeNumber) -> Result<String> {
    site.on_node(node, EVERYTHING)
}

/// Rules in the pods of a node.
pub(crate) fn rules(site: &Site, node: NodeNumber) -> Result<String> {
    site.on_node(node, RULES)
}

/// The network configuration of a node.
pub(crate) fn network(site: &Site, node: NodeNumber) -> Result<Value> {
    let text = site.on_node(node, "cat /etc/cni/net.d/*")?;
    serde_json::from_str(&text).with_context(|| format!("one file of {node}: {text}"))
}
