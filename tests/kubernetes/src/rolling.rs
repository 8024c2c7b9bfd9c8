//! Parts of the mesh are replaced, one after the other, under load.
//! In: a cluster with nothing on it. Out: an error for every request that a replacement cost.
//! What ends with a node proxy: connections that were open when it was replaced, and those only after the
//! time it has to drain. Everything else is answered.

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use crate::load::{self, Ended, Stream};
use crate::mesh;
use crate::saw;
use crate::site::{Site, say};
use crate::wait::until;

/// Seconds that a node proxy has to end, and the milliseconds of them in which it ends nothing by itself.
const GRACE: u32 = 15;
const DRAIN: u64 = 9_000;

/// A part.
struct Part {
    namespace: &'static str,
    object: &'static str,
    selector: &'static str,
    pods: usize,
}

const AGENT: Part = Part {
    namespace: "--namespace=istio-system",
    object: "daemonset/ambit-cni-node",
    selector: "--selector=app=ambit-cni-node",
    pods: 2,
};
const NODE_PROXY: Part = Part {
    namespace: "--namespace=istio-system",
    object: "daemonset/ztunnel",
    selector: "--selector=app=ztunnel",
    pods: 2,
};
const CONTROLLER: Part = Part {
    namespace: "--namespace=istio-system",
    object: "deployment/ambit-controller",
    selector: "--selector=app=ambit-controller",
    pods: 1,
};
const WAYPOINT: Part = Part {
    namespace: load::NAMESPACE,
    object: "deployment/waypoint",
    selector: "--selector=gateway.networking.k8s.io/gateway-name=waypoint",
    pods: 1,
};
const GATEWAY: Part = Part {
    namespace: load::NAMESPACE,
    object: "deployment/door-istio",
    selector: "--selector=gateway.networking.k8s.io/gateway-name=door",
    pods: 1,
};
/// How often each part is replaced.
const TIMES: usize = 2;

/// Runs every step.
///
/// # Errors
/// A request that should have been answered.
pub fn run(site: &Site) -> Result<()> {
    let start = Instant::now();
    let step = |sentence: &str| say(&format!("{:>4}s {sentence}", start.elapsed().as_secs()));
    step("a mesh with a load on it");
    let grace = format!("ztunnel.terminationGracePeriodSeconds={GRACE}");
    mesh::install_with(site, &[&grace])?;
    site.kubectl(&["create", "namespace", "load"])?;
    site.kubectl(&[
        "label",
        "namespace",
        "load",
        "istio.io/dataplane-mode=ambient",
    ])?;
    for manifest in [load::WAYPOINT, load::SERVERS, load::SERVICES] {
        site.apply(manifest)?;
    }
    let programmed = ["wait", "--for=condition=Programmed", "gateway/waypoint"];
    site.kubectl(&[&programmed[..], &[load::NAMESPACE, "--timeout=60s"]].concat())?;
    rolled_out(site, load::NAMESPACE, "deployment/server")?;
    bound(site)?;
    for manifest in [load::CLIENTS, load::EDGE] {
        site.apply(manifest)?;
    }
    for clients in ["deployment/load", "deployment/outside"] {
        rolled_out(site, load::NAMESPACE, clients)?;
    }
    load::flows(site)?;
    for part in [&AGENT, &CONTROLLER, &WAYPOINT, &GATEWAY] {
        step(&format!("{} is replaced", part.object));
        for _ in 0..TIMES {
            replaced(site, part)?;
        }
    }
    step("a waypoint of two is replaced");
    site.kubectl(&[load::NAMESPACE, "scale", WAYPOINT.object, "--replicas=2"])?;
    rolled_out(site, load::NAMESPACE, WAYPOINT.object)?;
    replaced(
        site,
        &Part {
            pods: 2,
            ..WAYPOINT
        },
    )?;
    step("node proxies are replaced");
    for _ in 0..TIMES {
        replaced(site, &NODE_PROXY)?;
    }
    let status = site.ambit(&["status"])?;
    ensure!(status.matches("in sync").count() == 5, "{status}");
    step("all of it; every proxy is in sync");
    Ok(())
}

fn rolled_out(site: &Site, namespace: &str, object: &str) -> Result<()> {
    site.kubectl(&[namespace, "rollout", "status", object, "--timeout=120s"])
        .map(drop)
}

/// The load's Service `routed` leads through the waypoint.
fn bound(site: &Site) -> Result<()> {
    until("the binding of the service", || {
        let service = site.get(&[load::NAMESPACE, "service/routed"])?;
        let conditions = service["status"]["conditions"].as_array();
        let bound = conditions.is_some_and(|all| {
            let mut all = all.iter();
            all.any(|one| one["type"] == "istio.io/WaypointBound" && one["status"] == "True")
        });
        ensure!(bound, "{}", service["status"]);
        Ok(())
    })
}

/// Replaces a part, waits until its former pods are gone, and says what that cost.
fn replaced(site: &Site, part: &Part) -> Result<()> {
    let (mark, begun) = (load::now()?, Instant::now());
    site.kubectl(&[part.namespace, "rollout", "restart", part.object])?;
    rolled_out(site, part.namespace, part.object)?;
    let rolled = begun.elapsed();
    until("the former pods are gone", || {
        let pods = site.get(&[part.namespace, "pods", part.selector])?;
        let count = pods["items"].as_array().map(Vec::len);
        ensure!(count == Some(part.pods), "{count:?} pods");
        Ok(())
    })?;
    let all = load::since(site, mark)?;
    let failed: Vec<&(Stream, Ended)> = all
        .iter()
        .filter(|(_, ended)| !ended.failures.is_empty())
        .collect();
    saw(&format!(
        "{} replaced in {} s, its pods gone after {} s: {}, {} streams with failures",
        part.object,
        rolled.as_secs(),
        begun.elapsed().as_secs(),
        load::summary(&all),
        failed.len()
    ));
    for (stream, ended) in &failed {
        saw(&format!(
            "{} on {}: {:?}, first after {} ms",
            stream.name,
            stream.node,
            ended.failures,
            ended.first_failure.unwrap_or_default()
        ));
    }
    if part.object == NODE_PROXY.object {
        return only_after_the_drain(&failed);
    }
    ensure!(
        failed.is_empty(),
        "{} cost requests: {failed:?}",
        part.object
    );
    Ok(())
}

/// A node proxy may end what it has carried from before, once it has waited.
fn only_after_the_drain(failed: &[&(Stream, Ended)]) -> Result<()> {
    for (stream, ended) in failed {
        ensure!(
            stream.holds(),
            "new connections failed: {stream:?} {ended:?}"
        );
        let after = ended.first_failure.context("a time")?;
        ensure!(
            after >= DRAIN,
            "kept connections were not waited for: {stream:?} {ended:?}"
        );
    }
    Ok(())
}
