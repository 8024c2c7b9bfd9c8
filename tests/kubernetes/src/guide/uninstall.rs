//! The mesh goes.

use anyhow::{Context as _, Result, ensure};

use super::join::{everybody, label};
use super::{Before, PAGE, TITLE, ingress, plaintext, probes};
use crate::application::{pods, untouched};
use crate::flow::ask;
use crate::saw;
use crate::site::Site;
use crate::traces::{everything, network};
use crate::wait::until;

pub(super) fn run(site: &Site, before: &mut Before) -> Result<()> {
    label(site, "istio.io/use-waypoint-")?;
    site.ambit(&["waypoint", "delete", "--all"])?;
    // Policies, routes and the gateway are there still: the guide does not ask to delete them first.
    label(site, "istio.io/dataplane-mode=ambient")?;
    everybody(site, Some("enabled"))?;
    let node = *site.nodes()?.first().context("a node")?;
    let traces = everything(site, node)?;
    ensure!(
        traces.contains("/sys/fs/bpf/ambit/") && traces.contains("fwmark"),
        "what a mesh has on a node: {traces:?}"
    );
    let said = site.ambit(&["uninstall", "-y", "--purge"])?;
    saw(&said.trim().replace('\n', "; "));
    for (node, before) in site.nodes()?.into_iter().zip(&before.networks) {
        let now = network(site, node)?;
        ensure!(now == *before, "the chain of {node} was {before}, is {now}");
        let traces = everything(site, node)?;
        ensure!(traces.is_empty(), "{node} has {traces}");
    }
    saw("network configuration as before, no pins, no rules in pods");
    everybody(site, None)?;
    untouched(&before.pods, &pods(site)?)?;
    let page = ask(site, "default", PAGE, &[])?;
    ensure!(
        page.status == "200" && page.body.contains(TITLE),
        "{page:?}"
    );
    saw("the application runs on, nobody was restarted");
    Ok(())
}

/// The guide's last commands, and what is there after them.
pub(super) fn samples(site: &Site) -> Result<()> {
    site.kubectl(&["delete", "namespace", "istio-system", "--ignore-not-found"])?;
    for manifest in plaintext::MANIFESTS {
        site.delete_sample("default", manifest)?;
    }
    ingress::remove(site)?;
    site.delete(probes::PROBED)?;
    site.kubectl(&["delete", "namespace", probes::OUTSIDE])?;
    until("nothing but what Kubernetes makes itself", || {
        let left = "deployments,pods,services,serviceaccounts,gateways.gateway.networking.k8s.io";
        let left = site.kubectl(&["get", left, "--output=name"])?;
        let left: Vec<&str> = left.lines().collect();
        ensure!(
            left == ["service/kubernetes", "serviceaccount/default"],
            "{left:?}"
        );
        Ok(())
    })?;
    for kind in [
        "customresourcedefinitions",
        "namespaces",
        "clusterroles",
        "clusterrolebindings",
        "validatingwebhookconfigurations",
        "gatewayclasses",
    ] {
        let left = site.kubectl(&["get", kind, "--output=name"])?;
        let ours = left
            .lines()
            .find(|line| line.contains("istio") || line.contains("ambit"));
        ensure!(ours.is_none(), "{kind}: {left}");
    }
    saw("no kind, role, webhook or namespace of the mesh is left");
    Ok(())
}
