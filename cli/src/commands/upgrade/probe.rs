//! Real connections through a new proxy: a pod on the first node joins the mesh by its agent and dials one
//! on another node, and the other way round. They are of a namespace of their own, which goes afterwards.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;
use serde_json::{Value, json};

use super::canary::Canary;
use crate::cluster::{Cluster, name_of, trouble};
use crate::install::{AMBIT, PART_OF};

/// Where the pods are.
const NAMESPACE: &str = "ambit-canary";
const PORT: u16 = 8080;
const INTERVAL: Duration = Duration::from_millis(500);

/// Makes the pods and takes them away again.
///
/// # Errors
/// A pod that does not start, a connection that does not come about.
pub(super) async fn run(canary: &Canary<'_>, spec: &Value, patience: Duration) -> Result<String> {
    let cluster = canary.cluster();
    let said = dial_both_ways(canary, spec, patience).await;
    let gone = cluster.delete(&namespace()).await;
    let said = said.context("a connection in the mesh")?;
    gone?;
    // The name may be needed again at once.
    cluster.wait_absent(&[namespace()], patience).await?;
    Ok(said)
}

async fn dial_both_ways(canary: &Canary<'_>, spec: &Value, patience: Duration) -> Result<String> {
    let cluster = canary.cluster();
    let own = canary.node.as_str();
    let other = other_node(cluster, own).await?;
    if is_terminating(cluster).await? {
        cluster.wait_absent(&[namespace()], patience).await?;
    }
    cluster.apply(&namespace(), false).await?;
    let mut said = Vec::new();
    for (name, server, client) in [("out", other.as_str(), own), ("in", own, other.as_str())] {
        let listen = ["probe".to_owned(), "listen".to_owned(), PORT.to_string()];
        let server = pod(&format!("{name}-server"), server, spec, &listen);
        cluster.apply(&server, false).await?;
        let live = until(cluster, &server, patience, is_running).await?;
        let address = live["status"]["podIP"]
            .as_str()
            .context("a pod with an address")?;
        let dial = ["probe".to_owned(), "dial".to_owned(), join(address, PORT)];
        let dialler = pod(&format!("{name}-client"), client, spec, &dial);
        cluster.apply(&dialler, false).await?;
        let done = until(cluster, &dialler, patience, ended).await?;
        let log = log(cluster, &format!("{name}-client")).await;
        ensure!(
            done["status"]["phase"] == "Succeeded",
            "from {client} to {}: {}",
            server["spec"]["nodeName"],
            log.trim()
        );
        said.push(log.trim().to_owned());
    }
    Ok(format!(
        "connections in the mesh from {own} to {other} and back: {}",
        said.join(", ")
    ))
}

/// Whether the namespace of an earlier try is still going.
async fn is_terminating(cluster: &Cluster) -> Result<bool> {
    let live = cluster.live(&namespace()).await?;
    Ok(live.is_some_and(|l| l["status"]["phase"] == "Terminating"))
}

fn namespace() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": NAMESPACE, "labels": {
            PART_OF: AMBIT,
            ambit_api::labels::DATAPLANE_MODE: "ambient",
            "pod-security.kubernetes.io/enforce": "restricted",
        }},
    })
}

/// Another node with a proxy; the same where there is no other.
async fn other_node(cluster: &Cluster, own: &str) -> Result<String> {
    let pods = cluster.list("v1", "Pod", None, "app=ztunnel").await?;
    let mut nodes = pods
        .iter()
        .filter_map(|pod| pod["spec"]["nodeName"].as_str());
    Ok(nodes.find(|node| *node != own).unwrap_or(own).to_owned())
}

/// A pod of the proxy's image that does nothing but listen or dial. Pure.
fn pod(name: &str, node: &str, spec: &Value, arguments: &[String]) -> Value {
    let container = &spec["containers"][0];
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name, "namespace": NAMESPACE, "labels": {PART_OF: AMBIT}},
        "spec": {
            "nodeName": node,
            "restartPolicy": "Never",
            "automountServiceAccountToken": false,
            "terminationGracePeriodSeconds": 1,
            "tolerations": [{"operator": "Exists"}],
            "securityContext": {"runAsNonRoot": true, "runAsUser": 65532, "seccompProfile": {"type": "RuntimeDefault"}},
            "containers": [{
                "name": "probe",
                "image": container["image"],
                "imagePullPolicy": container["imagePullPolicy"],
                "args": arguments,
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true,
                    "capabilities": {"drop": ["ALL"]},
                },
            }],
        },
    });
    if let Some(secrets) = spec.get("imagePullSecrets") {
        pod["spec"]["imagePullSecrets"] = secrets.clone();
    }
    pod
}

fn join(address: &str, port: u16) -> String {
    if address.contains(':') {
        format!("[{address}]:{port}")
    } else {
        format!("{address}:{port}")
    }
}

fn is_running(pod: &Value) -> bool {
    pod["status"]["phase"] == "Running" && pod["status"]["podIP"].is_string()
}

fn ended(pod: &Value) -> bool {
    ["Succeeded", "Failed"].contains(&pod["status"]["phase"].as_str().unwrap_or_default())
}

async fn until(
    cluster: &Cluster,
    pod: &Value,
    patience: Duration,
    condition: impl Fn(&Value) -> bool,
) -> Result<Value> {
    let start = Instant::now();
    loop {
        let live = cluster
            .live(pod)
            .await?
            .context("a pod was deleted meanwhile")?;
        if condition(&live) {
            return Ok(live);
        }
        if ended(&live) {
            let log = log(
                cluster,
                live["metadata"]["name"].as_str().unwrap_or_default(),
            )
            .await;
            bail!("{} has ended: {}", name_of(pod), log.trim());
        }
        if start.elapsed() >= patience {
            let why = trouble(&live).unwrap_or_else(|| "it does not end".to_owned());
            bail!("{} after {} s: {why}", name_of(pod), patience.as_secs());
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

async fn log(cluster: &Cluster, pod: &str) -> String {
    let api: Api<Pod> = Api::namespaced(cluster.client.clone(), NAMESPACE);
    let answer = api.logs(pod, &LogParams::default()).await;
    answer.unwrap_or_else(|error| format!("its log cannot be read: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_asks_for_no_privilege() {
        let spec = json!({"containers": [{"image": "i:2", "imagePullPolicy": "Never"}], "imagePullSecrets": [{"name": "s"}]});
        let made = pod("out-client", "n1", &spec, &["probe".to_owned()]);
        let container = &made["spec"]["containers"][0];
        assert_eq!(container["image"], "i:2");
        assert_eq!(
            container["securityContext"]["capabilities"],
            json!({"drop": ["ALL"]})
        );
        assert_eq!(made["spec"]["imagePullSecrets"], json!([{"name": "s"}]));
        assert_eq!(join("fd00::1", 80), "[fd00::1]:80");
        assert_eq!(join("10.0.0.1", 80), "10.0.0.1:80");
    }
}
