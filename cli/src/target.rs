//! Where the mesh is. In: `--lab`, `--kubeconfig`, `--context`. Out: processes and a way to ask them.
//! A lab's file in `/run/ambit/labs` names every process with its network namespace and ports; in a
//! cluster they are pods, found by label and asked through the API server.

mod http;
mod lab;
mod process;

use crate::cluster::{Chosen, Cluster};
use anyhow::{Context, Result, bail};
use lab::Lab;
use process::Door;
pub(crate) use process::{Process, carry};
use std::path::Path;

const LABS: &str = "/run/ambit/labs";

/// A running mesh.
pub(crate) struct Target {
    processes: Vec<Process>,
}

/// What the command line says about where the mesh is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    /// `--lab`
    pub(crate) lab: Option<String>,
    /// `--kubeconfig`, `--context`
    pub(crate) cluster: Chosen,
    /// Namespace of the mesh in a cluster
    pub(crate) namespace: String,
}

/// Opens what was named; else the only lab there is; else the cluster of the kubeconfig.
pub(crate) async fn open(place: &Place) -> Result<Target> {
    if let Some(name) = &place.lab {
        let lab = lab::read(&Path::new(LABS).join(format!("{name}.json")))
            .with_context(|| format!("no lab called `{name}` is running"))?;
        return Ok(of_lab(lab));
    }
    if !place.cluster.is_named() {
        let mut found = lab::list(Path::new(LABS))?;
        match found.len() {
            0 => {}
            1 => {
                let lab = found.remove(0);
                crate::output::note(format_args!("lab: {}", lab.name));
                return Ok(of_lab(lab));
            }
            _ => {
                let names: Vec<_> = found.iter().map(|l| l.name.as_str()).collect();
                bail!(
                    "several labs are running ({}); choose one with --lab",
                    names.join(", ")
                )
            }
        }
    }
    let cluster = place.cluster.connect().await.context(
        "no mesh found: name a cluster with --kubeconfig, or start a lab with `cargo xtask demo --keep`",
    )?;
    of_cluster(cluster, &place.namespace).await
}

fn of_lab(lab: Lab) -> Target {
    Target {
        processes: lab.processes.into_iter().map(Process::from).collect(),
    }
}

async fn of_cluster(cluster: Cluster, namespace: &str) -> Result<Target> {
    let pods = cluster
        .mesh_pods(namespace)
        .await
        .with_context(|| format!("the mesh of the cluster at {}", cluster.server))?;
    let processes = pods
        .into_iter()
        .map(|pod| Process {
            // A waypoint may have the name of another in another namespace.
            name: match pod.role {
                "waypoint" => format!("{}/{}", pod.namespace, pod.name),
                _ => pod.name.clone(),
            },
            role: pod.role.to_owned(),
            node: pod.node,
            running: pod.running,
            door: Door::Pod {
                cluster: cluster.clone(),
                namespace: pod.namespace,
                pod: pod.name,
                admin: pod.admin,
                metrics: pod.metrics,
            },
        })
        .collect();
    Ok(Target { processes })
}

impl Target {
    /// Processes of a role: `ztunnel`, `agent`, `controller`, `waypoint`.
    pub(crate) fn processes<'a>(&'a self, role: &'a str) -> impl Iterator<Item = &'a Process> {
        self.processes.iter().filter(move |p| p.role == role)
    }

    /// The node proxy of `node`, or the only one.
    pub(crate) fn ztunnel(&self, node: Option<&str>) -> Result<&Process> {
        let mut candidates = self
            .processes("ztunnel")
            .filter(|p| node.is_none_or(|n| p.node.as_deref() == Some(n) || p.name == n));
        let first = candidates.next().with_context(|| match node {
            Some(n) => format!("no ztunnel on `{n}`; nodes: {}", self.nodes().join(", ")),
            None => "this mesh has no ztunnel".to_owned(),
        })?;
        if node.is_none() && candidates.next().is_some() {
            bail!(
                "several nodes ({}); choose one with --node",
                self.nodes().join(", ")
            );
        }
        Ok(first)
    }

    /// Nodes with a ztunnel.
    pub(crate) fn nodes(&self) -> Vec<&str> {
        self.processes("ztunnel")
            .filter_map(|p| p.node.as_deref())
            .collect()
    }
}
