//! Overlays by `parametersRef`: replicas and budget, a mistake, an autoscaler, a drain.

use anyhow::{Context as _, Result, ensure};

use crate::flow::ask;
use crate::saw;
use crate::site::Site;
use crate::wait::until;

/// A gateway with a route to the sample.
const GATEWAY: &str = include_str!("../manifests/edge.yaml");
const DOOR: &str = "http://edge-istio/get";

pub(super) fn run(site: &Site) -> Result<()> {
    lay(site, "deployment: '{spec: {replicas: 2}}'")?;
    site.apply(GATEWAY)?;
    until("two pods and their budget", || {
        pods(site, 2)?;
        let budget = site.get(&["poddisruptionbudget", "edge-istio"])?;
        ensure!(budget["spec"]["maxUnavailable"] == 1, "{budget}");
        Ok(())
    })?;
    until("traffic through the gateway", || served(site))?;
    until("its address", || {
        let gateway = site.get(&["gateway", "edge"])?;
        let first = &gateway["status"]["addresses"][0];
        ensure!(
            first["value"] == "edge-istio.default.svc.cluster.local",
            "{gateway}"
        );
        Ok(())
    })?;
    saw("two pods, a budget, the Service's host name as address");
    lay(site, "deployment: '{spec: {replicas: two}}'")?;
    let said = until("the mistake is said", || {
        let (status, reason, message) = accepted(site)?;
        ensure!(
            status == "False" && reason == "InvalidParameters" && message.contains("spec.replicas"),
            "{status} {reason} {message}"
        );
        Ok(message)
    })?;
    pods(site, 2)?;
    served(site)?;
    saw(&format!("two pods still; {said}"));
    scaled(site)?;
    drained(site)
}

/// The number of pods goes over to an autoscaler, and never falls on the way.
fn scaled(site: &Site) -> Result<()> {
    lay(
        site,
        "deployment: '{spec: {replicas: 2}}'\n  horizontalPodAutoscaler: '{spec: {minReplicas: 2, maxReplicas: 3}}'",
    )?;
    until("an autoscaler decides", || {
        pods(site, 2)?;
        site.get(&["horizontalpodautoscaler", "edge-istio"])?;
        let fields = ["deployment", "edge-istio", "--show-managed-fields"];
        let deployment = site.get(&fields)?;
        let managers = deployment["metadata"]["managedFields"].as_array();
        let ours = managers.into_iter().flatten().any(|entry| {
            entry["manager"] == "ambit-controller"
                && !entry["fieldsV1"]["f:spec"]["f:replicas"].is_null()
        });
        ensure!(!ours, "the controller still says how many: {deployment}");
        Ok(())
    })?;
    let (status, ..) = accepted(site)?;
    ensure!(status == "True", "{status}");
    saw("the autoscaler has taken over, with two pods all the time");
    Ok(())
}

/// A node is emptied of gateways; the other one serves.
fn drained(site: &Site) -> Result<()> {
    let selector = "--pod-selector=gateway.networking.k8s.io/gateway-name=edge";
    let drain = ["drain", "n2", "--ignore-daemonsets", "--timeout=60s"];
    let said = site.kubectl(&[&drain[..], &[selector]].concat())?;
    served(site)?;
    site.kubectl(&["uncordon", "n2"])?;
    ensure!(said.contains("evicted"), "no gateway was on n2: {said}");
    saw("a node was drained; the gateway served");
    Ok(())
}

fn lay(site: &Site, data: &str) -> Result<()> {
    let map = format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: edge-overlays, namespace: default}}\ndata:\n  {data}\n"
    );
    site.apply(&map).map(drop)
}

/// So many are wanted and ready.
fn pods(site: &Site, count: u64) -> Result<()> {
    let deployment = site.get(&["deployment", "edge-istio"])?;
    let (wanted, ready) = (
        deployment["spec"]["replicas"].as_u64(),
        deployment["status"]["readyReplicas"].as_u64(),
    );
    ensure!(
        wanted == Some(count) && ready >= Some(count),
        "{wanted:?} wanted, {ready:?} ready"
    );
    Ok(())
}

fn served(site: &Site) -> Result<()> {
    let host = ["-H", "Host: httpbin.example"];
    let answer = ask(site, "default", DOOR, &host)?;
    ensure!(answer.status == "200", "{answer:?}");
    Ok(())
}

fn accepted(site: &Site) -> Result<(String, String, String)> {
    let gateway = site.get(&["gateway", "edge"])?;
    let conditions = gateway["status"]["conditions"].as_array();
    let found = conditions
        .into_iter()
        .flatten()
        .find(|condition| condition["type"] == "Accepted");
    let found = found.context("no condition Accepted")?;
    let text = |field: &str| found[field].as_str().map(str::to_owned);
    let text = |field| text(field).with_context(|| found.to_string());
    Ok((text("status")?, text("reason")?, text("message")?))
}
