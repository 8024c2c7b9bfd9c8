//! Parts of the mesh are replaced, as an upgrade does it, and one dies.

use anyhow::{Context as _, Result, ensure};

use super::{Before, PAGE};
use crate::application::{pods, untouched};
use crate::flow::{Stream, ask};
use crate::saw;
use crate::site::Site;
use crate::wait::until;

const PARTS: [&str; 3] = [
    "daemonset/ambit-cni-node",
    "daemonset/ztunnel",
    "deployment/ambit-controller",
];
const NAMESPACE: &str = "--namespace=istio-system";

pub(super) fn run(site: &Site, before: &mut Before) -> Result<()> {
    for part in PARTS {
        let stream = Stream::start(site, PAGE)?;
        site.kubectl(&[NAMESPACE, "rollout", "restart", part])?;
        site.kubectl(&[NAMESPACE, "rollout", "status", part, "--timeout=120s"])?;
        let answered = stream.all_answered()?;
        saw(&format!(
            "{part} replaced, {answered} requests meanwhile, all answered"
        ));
    }
    untouched(&before.pods, &pods(site)?)
}

/// What it captured stays captured while it is away.
pub(super) fn agents_die(site: &Site) -> Result<()> {
    let stream = Stream::start(site, PAGE)?;
    let selector = "--selector=app=ambit-cni-node";
    site.kubectl(&[
        NAMESPACE,
        "delete",
        "pod",
        selector,
        "--grace-period=0",
        "--force",
    ])?;
    let answer = ask(site, "default", PAGE, &["-X", "DELETE"])?;
    ensure!(answer.status == "403", "the waypoint was asked: {answer:?}");
    until("both agents", || {
        let set = site.get(&[NAMESPACE, "daemonset/ambit-cni-node"])?;
        ensure!(set["status"]["numberReady"] == 2, "{}", set["status"]);
        Ok(())
    })?;
    let answered = stream.all_answered()?;
    saw(&format!(
        "agents killed, {answered} requests meanwhile, all answered"
    ));
    let status = site.ambit(&["status"]).context("ambit status")?;
    ensure!(status.matches("in sync").count() == 4, "{status}");
    saw("ambit status: all four proxies are in sync");
    Ok(())
}
