//! Whether a cluster is one, before anything of ours is on it.
//! In: a cluster with the sample images. Out: nothing, or the first thing that does not work.
//! Owns: namespace `smoke`, removed at the end, also after a failure.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use crate::kubectl::{apply, get, run};
use crate::progress::say;
use crate::readiness::{rollout, until};
use crate::state::Directory;

const MANIFESTS: &str = include_str!("../../../deploy/cluster/manifests/smoke.yaml");
const NAMESPACE: &str = "smoke";
/// Where the servers listen.
const PORT: u16 = 5000;
/// Requests through the Service: with four pods, one pod alone would get all of them once in 4^29.
const REQUESTS: usize = 30;

#[derive(Deserialize)]
struct List {
    items: Vec<Pod>,
}

#[derive(Deserialize)]
struct Pod {
    metadata: Metadata,
    spec: Spec,
    status: Status,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default)]
    node_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(rename = "podIPs", default)]
    pod_ips: Vec<PodIp>,
    #[serde(default)]
    container_statuses: Vec<Container>,
}

#[derive(Deserialize)]
struct PodIp {
    ip: IpAddr,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Container {
    restart_count: u32,
}

/// Removes the namespace whatever happens.
struct Cleanup<'a>(&'a Directory);

impl Drop for Cleanup<'_> {
    fn drop(&mut self) {
        if let Err(error) = run(
            self.0,
            &["delete", "namespace", NAMESPACE, "--ignore-not-found"],
        ) {
            say(&format!("the namespace {NAMESPACE} stays: {error:#}"));
        }
    }
}

/// Checks pods on every node, Service, DNS, traffic between nodes, probes, exec and logs.
///
/// # Errors
/// What does not work.
pub fn smoke(directory: &Directory) -> Result<()> {
    let _cleanup = Cleanup(directory);
    apply(directory, MANIFESTS).context("the objects of the check")?;
    for object in ["deployment/web", "daemonset/client"] {
        rollout(directory, NAMESPACE, object)?;
    }
    let (servers, clients) = (pods(directory, "app=web")?, pods(directory, "app=client")?);
    let nodes: BTreeSet<&str> = servers
        .iter()
        .map(|pod| pod.spec.node_name.as_str())
        .collect();
    ensure!(
        nodes.len() == clients.len(),
        "servers are on {nodes:?} only, of {} nodes",
        clients.len()
    );
    say(&format!(
        "smoke: {} servers on {} nodes are Ready",
        servers.len(),
        nodes.len()
    ));
    for client in &clients {
        service(directory, client)?;
        for server in &servers {
            for address in &server.status.pod_ips {
                direct(directory, client, server, address.ip)?;
            }
        }
    }
    say("smoke: services by name and pods by every address answer on every node");
    log(directory, &servers)?;
    say("smoke: exec and logs work");
    until(
        "the restart of a container whose liveness probe fails",
        || {
            let restarts = pods(directory, "app=sick")?
                .iter()
                .flat_map(|p| &p.status.container_statuses)
                .map(|c| c.restart_count)
                .sum::<u32>();
            ensure!(restarts > 0, "no restart");
            Ok(())
        },
    )?;
    say("smoke: a failing probe restarts its container");
    Ok(())
}

fn pods(directory: &Directory, label: &str) -> Result<Vec<Pod>> {
    let namespace = format!("--namespace={NAMESPACE}");
    let list: List = get(directory, &["pods", &namespace, "--selector", label])?;
    Ok(list.items)
}

/// The Service by its name: DNS, ClusterIP, and more than one pod behind it.
fn service(directory: &Directory, client: &Pod) -> Result<()> {
    let mut answered = BTreeSet::new();
    for _ in 0..REQUESTS {
        let answer = curl(
            directory,
            client,
            "http://web.smoke.svc.cluster.local/hello",
        )?;
        answered.insert(
            answer
                .rsplit(' ')
                .next()
                .unwrap_or_default()
                .trim()
                .to_owned(),
        );
    }
    if answered.len() < 2 {
        bail!(
            "{REQUESTS} requests from {} were answered by {answered:?} only",
            client.spec.node_name
        );
    }
    Ok(())
}

/// A pod by its address.
fn direct(directory: &Directory, client: &Pod, server: &Pod, address: IpAddr) -> Result<()> {
    let url = format!("http://{}/hello", SocketAddr::new(address, PORT));
    let answer = curl(directory, client, &url)?;
    let name = &server.metadata.name;
    ensure!(answer.contains(name), "{name} answered {answer:?}");
    Ok(())
}

fn curl(directory: &Directory, client: &Pod, url: &str) -> Result<String> {
    let namespace = format!("--namespace={NAMESPACE}");
    let command = [
        "exec",
        &namespace,
        &client.metadata.name,
        "--",
        "curl",
        "-sS",
        "--fail",
        "--max-time",
        "10",
        url,
    ];
    run(directory, &command)
}

/// Every server has been asked by now and has said so.
fn log(directory: &Directory, servers: &[Pod]) -> Result<()> {
    let namespace = format!("--namespace={NAMESPACE}");
    for server in servers {
        let log = run(directory, &["logs", &namespace, &server.metadata.name])?;
        ensure!(
            log.contains("/hello"),
            "the log of {} is {log:?}",
            server.metadata.name
        );
    }
    Ok(())
}
