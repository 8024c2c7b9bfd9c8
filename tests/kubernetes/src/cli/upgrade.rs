//! The next version comes, one node first. It is the same programs under another tag.

use anyhow::{Context as _, Result, ensure};

use super::{DETAILS, said};
use crate::flow::Stream;
use crate::mesh::install_with;
use crate::saw;
use crate::site::Site;
use crate::wait::until;

const HUB: &str = "docker.io/ambitmesh";
const NOW: &str = env!("CARGO_PKG_VERSION");
const NEXT: &str = "next";
const NAMESPACE: &str = "--namespace=istio-system";
const PROXY: &str = "daemonset/ztunnel";

pub(super) fn good(site: &Site) -> Result<()> {
    for node in site.nodes()? {
        for image in ["controller", "agent", "ztunnel", "waypoint"] {
            let (from, to) = (
                format!("{HUB}/{image}:{NOW}"),
                format!("{HUB}/{image}:{NEXT}"),
            );
            site.on_node(node, &format!("ctr -n k8s.io images tag {from} {to}"))?;
        }
    }
    let same = site.ambit(&["upgrade", "--yes"])?;
    ensure!(same.contains("nothing to do"), "{same}");
    let tag = format!("tag={NEXT}");
    let dry = site.ambit(&["upgrade", "--dry-run", "--set", &tag])?;
    let told = format!(
        "spec.template.spec.containers[ztunnel].image: {HUB}/ztunnel:{NOW} -> {HUB}/ztunnel:{NEXT}"
    );
    ensure!(dry.contains(&told), "no {told:?} in {dry}");
    ensure!(
        image(site)? == format!("{HUB}/ztunnel:{NOW}"),
        "a dry run changed something"
    );
    let stream = Stream::start(site, DETAILS)?;
    let upgraded = site.ambit(&["upgrade", "--yes", "--set", &tag, "--canary-node", "n1"])?;
    let answered = stream.all_answered()?;
    for part in ["the first node is n1", "n1 is well", "upgraded to"] {
        ensure!(upgraded.contains(part), "no {part:?} in {upgraded}");
    }
    for line in upgraded
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("    "))
    {
        saw(line.trim());
    }
    ensure!(
        image(site)? == format!("{HUB}/ztunnel:{NEXT}"),
        "{upgraded}"
    );
    verify(site)?;
    saw(&format!("{answered} requests meanwhile, all answered"));
    Ok(())
}

pub(super) fn bad(site: &Site) -> Result<()> {
    let before = image(site)?;
    let stream = Stream::start(site, DETAILS)?;
    let tried = said(
        site,
        &[
            "upgrade",
            "--yes",
            "--set",
            "ztunnel.env.XDS_ADDRESS=https://nobody.istio-system.svc:15012",
            "--readiness-timeout",
            "20s",
        ],
    )?;
    ensure!(
        tried.code == Some(1) && tried.text.contains("every other node is as before"),
        "{:?}: {}",
        tried.code,
        tried.text
    );
    let said_why = tried.text.lines().find(|line| line.starts_with("Error"));
    saw(said_why.unwrap_or_default());
    ensure!(image(site)? == before, "the others changed");
    let back = site.ambit(&["upgrade", "--rollback", "--yes"])?;
    let answered = stream.all_answered()?;
    saw(&format!(
        "{}; {answered} requests meanwhile, all answered",
        back.lines().last().unwrap_or_default()
    ));
    verify(site)?;
    let sets = site.get(&[NAMESPACE, "daemonsets"])?;
    let count = sets["items"].as_array().map_or(0, Vec::len);
    ensure!(count == 2, "the second proxy is left: {sets}");
    Ok(())
}

/// The node agent is switched off, and on again.
pub(super) fn prune(site: &Site) -> Result<()> {
    let tag = format!("tag={NEXT}");
    let without = install_with(site, &[&tag, "components.cni.enabled=false"])?;
    let told = "DaemonSet istio-system/ambit-cni-node deleted";
    ensure!(without.contains(told), "no {told:?} in {without}");
    saw(told);
    let again = install_with(site, &[])?;
    ensure!(again.contains("ambit-cni-node is ready"), "{again}");
    verify(site)
}

/// Old pods may still end when the new ones are ready.
fn verify(site: &Site) -> Result<()> {
    until("what was chosen is installed", || {
        let verified = said(site, &["verify-install"])?;
        ensure!(verified.code == Some(0), "{}", verified.text);
        Ok(())
    })
}

/// The image that the node proxies should have.
fn image(site: &Site) -> Result<String> {
    let set = site.get(&[NAMESPACE, PROXY])?;
    let image = set.pointer("/spec/template/spec/containers/0/image");
    let image = image.and_then(serde_json::Value::as_str);
    image.map(str::to_owned).context("an image")
}
