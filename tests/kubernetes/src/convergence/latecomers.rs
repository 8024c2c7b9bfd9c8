//! What is named before it is there.

use anyhow::{Result, ensure};

use super::{LOAD, get};
use crate::application::pods_of;
use crate::flow::ask;
use crate::load;
use crate::saw;
use crate::site::Site;
use crate::wait::until;
use crate::wire::Wire;

const LATE: &str = include_str!("../manifests/late-service.yaml");
const LATER: &str = include_str!("../manifests/later.yaml");
const LATER_POLICY: &str = include_str!("../manifests/later-policy.yaml");

/// Pods, then their services, then the label of their namespace.
pub(super) fn pods(site: &Site, wire: &Wire) -> Result<()> {
    site.kubectl(&["create", "namespace", LOAD])?;
    for manifest in [load::SERVERS, load::CLIENTS] {
        site.apply(manifest)?;
    }
    site.apply_sample(LOAD, "curl/curl.yaml")?;
    for object in ["deployment/server", "deployment/load", "deployment/curl"] {
        rolled_out(site, object)?;
    }
    site.apply(load::SERVICES)?;
    load::flows(site)?;
    let readable = wire.readable();
    ensure!(readable > 0, "without a mesh the load must be readable");
    saw(&format!(
        "without a mesh {readable} pieces of the load were readable"
    ));
    site.kubectl(&[
        "label",
        "namespace",
        LOAD,
        "istio.io/dataplane-mode=ambient",
    ])?;
    until("every pod is captured", || {
        let pods = pods_of(site, LOAD)?;
        let other = pods
            .iter()
            .find(|(_, pod)| pod.redirection.as_deref() != Some("enabled"));
        ensure!(other.is_none(), "{other:?}");
        Ok(())
    })?;
    // Connections from before live on outside the mesh; their clients go.
    site.kubectl(&[load::NAMESPACE, "rollout", "restart", "deployment/load"])?;
    rolled_out(site, "deployment/load")?;
    wire.falls_silent(site)?;
    let restarts: u64 = pods_of(site, LOAD)?.values().map(|pod| pod.restarts).sum();
    ensure!(restarts == 0, "a pod was restarted");
    Ok(())
}

/// A service that selects captured pods, then the waypoint that two services name.
pub(super) fn waypoint(site: &Site, _: &Wire) -> Result<()> {
    site.apply(LATE)?;
    until("an answer of the service", || {
        let answer = get(site, "late")?;
        ensure!(answer.status == "200", "{answer:?}");
        Ok(())
    })?;
    let named = bound(site, "late")?;
    ensure!(named != "True", "there is no waypoint yet: {named}");
    site.apply(load::WAYPOINT)?;
    until("both are bound", || {
        for service in ["late", "routed"] {
            let bound = bound(site, service)?;
            ensure!(bound == "True", "{service}: {bound}");
        }
        Ok(())
    })?;
    saw("a service whose waypoint was not there yet was served, and is bound now");
    load::flows(site)
}

/// A policy that lets nobody in, then the workload it is for.
pub(super) fn workload(site: &Site, _: &Wire) -> Result<()> {
    site.apply(LATER_POLICY)?;
    site.apply(LATER)?;
    rolled_out(site, "deployment/later")?;
    // From its first moment on: it is Ready, and its service leads to it.
    for _ in 0..5 {
        let answer = get(site, "later")?;
        ensure!(answer.status == "000", "nobody is let in: {answer:?}");
    }
    site.delete(LATER_POLICY)?;
    until("an answer without the policy", || {
        let answer = get(site, "later")?;
        ensure!(answer.status == "200", "{answer:?}");
        Ok(())
    })?;
    saw("refused from its first moment until the policy went");
    let health = ask(site, LOAD, "http://later:9080/health", &[])?;
    ensure!(health.status == "200", "{health:?}");
    Ok(())
}

/// The status of a service's binding.
fn bound(site: &Site, service: &str) -> Result<String> {
    let service = site.get(&[load::NAMESPACE, "service", service])?;
    let conditions = service["status"]["conditions"].as_array();
    let found = conditions.and_then(|all| {
        all.iter()
            .find(|one| one["type"] == "istio.io/WaypointBound")
    });
    let status = found.and_then(|one| one["status"].as_str());
    Ok(status.unwrap_or("none").to_owned())
}

pub(super) fn rolled_out(site: &Site, object: &str) -> Result<()> {
    let wait = ["rollout", "status", object, "--timeout=120s"];
    site.kubectl(&[&[load::NAMESPACE], &wait[..]].concat())
        .map(drop)
}
