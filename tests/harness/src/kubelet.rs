//! A node's kubelet: starts and stops the pods bound to it.
//! In: the [`Cluster`] on a watch channel. Out: namespaces, CNI calls, processes, statuses.
//! Owns: every pod of its node, from the first CNI ADD to the last DEL.
//! Never here: scheduling (a pod names its node), services, DNS, the mesh.
//! Spec: the Kubernetes pod lifecycle, as far as a mesh can see it.

pub mod cni;
pub mod container;
pub mod image;
pub mod node;
pub mod readiness;
pub mod sandbox;
pub mod status;
pub mod token_file;
pub mod worker;

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use tokio::sync::watch;
use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::cluster::{Cluster, Key, PodView};
use node::Node;

/// A pod that was started and has not ended.
struct Running {
    pod: Arc<Pod>,
    stop: CancellationToken,
    task: Id,
}

/// Runs the pods of `node` until `stop`, then stops them all.
pub async fn run(
    node: Arc<Node>,
    mut cluster: watch::Receiver<Arc<Cluster>>,
    stop: CancellationToken,
) {
    let mut running: HashMap<Key, Running> = HashMap::new();
    let mut tasks = JoinSet::new();
    loop {
        let now = if stop.is_cancelled() {
            Arc::default()
        } else {
            cluster.borrow_and_update().clone()
        };
        for (key, entry) in &running {
            if now
                .pods
                .get(key)
                .is_none_or(|pod| !same(&node, &entry.pod, pod))
            {
                entry.stop.cancel();
            }
        }
        for (key, pod) in now
            .pods
            .iter()
            .filter(|(_, pod)| PodView(pod).node() == Some(&node.name))
        {
            if !running.contains_key(key) {
                let stop = CancellationToken::new();
                let task = tasks
                    .spawn(worker::run(node.clone(), pod.clone(), stop.clone()))
                    .id();
                running.insert(
                    key.clone(),
                    Running {
                        pod: pod.clone(),
                        stop,
                        task,
                    },
                );
            }
        }
        if stop.is_cancelled() && running.is_empty() {
            return;
        }
        tokio::select! {
            changed = cluster.changed(), if !stop.is_cancelled() => {
                if changed.is_err() {
                    stop.cancel();
                }
            }
            () = stop.cancelled(), if !stop.is_cancelled() => {}
            Some(ended) = tasks.join_next_with_id() => {
                let id = ended.map_or_else(|error| error.id(), |(id, ())| id);
                running.retain(|_, entry| entry.task != id);
            }
        }
    }
}

/// Whether the running pod is still the one that is wanted: a pod's spec does not change in its life.
fn same(node: &Node, running: &Pod, wanted: &Pod) -> bool {
    PodView(wanted).node() == Some(&node.name)
        && running.metadata.uid == wanted.metadata.uid
        && running.metadata.deletion_timestamp == wanted.metadata.deletion_timestamp
        && running.spec == wanted.spec
}
