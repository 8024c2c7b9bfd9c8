//! Nodes that the DaemonSets leave: both, then the proxy's alone; the mesh comes back with the label.

use anyhow::{Context as _, Result, ensure};

use ambit_cluster::NodeNumber;

use super::IN;
use crate::flow::ask;
use crate::saw;
use crate::site::Site;
use crate::traces::{everything, network, rules};
use crate::wait::until;

/// Across nodes, and within each.
const DESTINATION: &str = "http://httpbin:8000/get";

pub(super) fn run(site: &Site) -> Result<()> {
    let nodes = site.nodes()?;
    let second = *nodes.last().context("two nodes")?;
    site.kubectl(&["scale", "deployment", "httpbin", "curl", "--replicas=4"])?;
    redirected(site, "n2", true)?;
    site.kubectl(&["label", "node", "n2", "mesh-"])?;
    outside(site, second)?;
    let left = everything(site, second)?;
    ensure!(left.trim().is_empty(), "{second} has {left}");
    let chain = network(site, second)?.to_string();
    ensure!(!chain.contains("ambit-cni"), "{chain}");
    fresh(site, "n2", false)?;
    saw("n2 left the mesh: no trace of it there, pods run and start with plain networking");
    site.kubectl(&["label", "node", "n2", IN])?;
    redirected(site, "n2", true)?;
    fresh(site, "n2", true)?;
    saw("the label came back, and the mesh with it");
    affinity(site, true)?;
    outside(site, second)?;
    fresh(site, "n2", false)?;
    saw("without a proxy pods of n2 stay outside");
    affinity(site, false)?;
    redirected(site, "n2", true)?;
    until("across", || served(site))?;
    saw("with the proxy they are back");
    Ok(())
}

/// The proxy's DaemonSet wants every node but n2, or every one.
fn affinity(site: &Site, but_second: bool) -> Result<()> {
    let (verb, value) = match but_second {
        true => (
            "add",
            r#", "value": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "NotIn", "values": ["n2"]}]}]}}}"#,
        ),
        false => ("remove", ""),
    };
    let patch = format!(r#"[{{"op": "{verb}", "path": "/spec/template/spec/affinity"{value}}}]"#);
    let words = [
        "--namespace=istio-system",
        "patch",
        "daemonset",
        "ztunnel",
        "--type=json",
        "--patch",
        &patch,
    ];
    site.kubectl(&words).map(drop)
}

/// All pods of a node have left, and the whole sample answers in plaintext and else.
fn outside(site: &Site, node: NodeNumber) -> Result<()> {
    redirected(site, "n2", false)?;
    until("no rule is left in a pod", || {
        let rules = rules(site, node)?;
        ensure!(rules.is_empty(), "{node} has {rules}");
        Ok(())
    })?;
    until("across", || served(site))
}

/// Whether every pod of a node says that it is in the mesh, or none.
fn redirected(site: &Site, node: &str, inside: bool) -> Result<()> {
    let on = format!("--field-selector=spec.nodeName={node}");
    let what = match inside {
        true => "its pods are in the mesh",
        false => "its pods are outside",
    };
    until(what, || {
        let selector = "--selector=!gateway.networking.k8s.io/gateway-name";
        let list = site.get(&["pods", &on, selector])?;
        let items = list["items"].as_array().context("a list")?;
        ensure!(!items.is_empty(), "no pod is on {node}");
        for pod in items {
            let annotation = &pod["metadata"]["annotations"]["ambient.istio.io/redirection"];
            ensure!((annotation == "enabled") == inside, "{pod}");
        }
        Ok(())
    })
}

/// A pod that starts now comes up, in the mesh or outside.
fn fresh(site: &Site, node: &str, inside: bool) -> Result<()> {
    let on = format!("--field-selector=spec.nodeName={node}");
    site.kubectl(&["delete", "pods", &on, "--selector=app=curl", "--wait=true"])?;
    let all = ["wait", "--for=condition=Available", "deployment", "--all"];
    site.kubectl(&[&all[..], &["--timeout=120s"]].concat())?;
    redirected(site, node, inside)
}

fn served(site: &Site) -> Result<()> {
    let answer = ask(site, "default", DESTINATION, &[])?;
    ensure!(answer.status == "200", "{answer:?}");
    Ok(())
}
