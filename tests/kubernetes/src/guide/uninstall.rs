//! The mesh goes.

use anyhow::{Context as _, Result, ensure};

use super::join::{everybody, label};
use super::{Before, PAGE, TITLE, ingress};
use crate::application::{pods, untouched};
use crate::flow::ask;
use crate::saw;
use crate::site::Site;
use crate::traces::{everything, network};

const POLICIES: [&str; 3] = [
    include_str!("../manifests/only-curl-and-the-waypoint.yaml"),
    include_str!("../manifests/only-get-by-curl.yaml"),
    include_str!("../manifests/strict.yaml"),
];

pub(super) fn run(site: &Site, before: &mut Before) -> Result<()> {
    label(site, "istio.io/use-waypoint-")?;
    site.ambit(&["waypoint", "delete", "--all"])?;
    ingress::remove(site)?;
    for policy in POLICIES {
        site.delete(policy)?;
    }
    label(site, "istio.io/dataplane-mode=ambient")?;
    everybody(site, Some("enabled"))?;
    let node = *site.nodes()?.first().context("a node")?;
    let traces = everything(site, node)?;
    ensure!(
        traces.contains("/sys/fs/bpf/ambit/") && traces.contains("fwmark"),
        "what a mesh has on a node: {traces:?}"
    );
    let said = site.ambit(&["uninstall", "--yes"])?;
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
