//! Where the agent learns of pods and namespaces.
//! In: batches of objects, of a directory or an API server. Out: `Event::Facts`, of this node's pods only.
//! Owns the watch. Must not happen here: a decision about a pod.
//! Spec: Kubernetes core/v1 Pod and Namespace.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use ambit_crds::{Kind, Object, ObjectKey};
use ambit_source::kubernetes::{self, Client, Kinds};
use ambit_source::{Batch, Change, WatchError};
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::mpsc;

use crate::events::{Event, Facts};
use crate::intent::PodFacts;

/// A kind of source.
#[derive(Clone)]
pub enum Source {
    /// A directory of YAML files.
    Directory(PathBuf),
    /// The API server.
    Cluster(Client),
}

impl Source {
    /// Tells everything once, then every change, until the receiver is gone. `hear` learns it first.
    ///
    /// # Errors
    /// The source cannot be watched at all, or not any more.
    pub async fn run(
        self,
        node: String,
        hear: impl Fn(&Facts),
        events: mpsc::Sender<Event>,
    ) -> Result<(), WatchError> {
        let mut source = match self {
            Self::Directory(dir) => ambit_source::watch(&dir)?,
            Self::Cluster(client) => kubernetes::watch(client, Kinds::Node(node.clone())),
        };
        let mut first = true;
        loop {
            let batch = match source.next().await {
                Ok(batch) => batch,
                Err(error @ WatchError::Ended { .. }) => return Err(error),
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "the source cannot be read"
                    );
                    tokio::time::sleep(BETWEEN_TRIES).await;
                    continue;
                }
            };
            for problem in batch.problems.iter().filter(|_| first) {
                tracing::info!(%problem, "a document of the source has a problem");
            }
            let facts = facts(&batch, &node, first);
            first = false;
            hear(&facts);
            if events.send(Event::Facts(facts)).await.is_err() {
                return Ok(());
            }
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Directory(dir) => f.debug_tuple("Directory").field(dir).finish(),
            Self::Cluster(_) => f.debug_tuple("Cluster").finish(),
        }
    }
}

fn facts(batch: &Batch, node: &str, complete: bool) -> Facts {
    let mut facts = Facts {
        complete,
        ..Facts::default()
    };
    for change in &batch.changes {
        match change {
            Change::Upsert(object) => match object.as_ref() {
                Object::Pod(pod) => {
                    let name = name_of(&object.key());
                    let here = pod_facts(pod);
                    // A pod that left the node is as good as deleted here.
                    let ours = here.node.as_deref() == Some(node);
                    facts.pods.push((name, ours.then_some(here)));
                }
                Object::Namespace(_) => {
                    let labels = object.labels().clone();
                    facts
                        .namespaces
                        .push((object.key().name.to_string(), Some(labels)));
                }
                _ => {}
            },
            Change::Delete(key) if key.kind == Kind::Pod => facts.pods.push((name_of(key), None)),
            Change::Delete(key) if key.kind == Kind::Namespace => {
                facts.namespaces.push((key.name.to_string(), None));
            }
            Change::Delete(_) => {}
        }
    }
    facts
}

fn name_of(key: &ObjectKey) -> (String, String) {
    (key.namespace.to_string(), key.name.to_string())
}

fn pod_facts(pod: &Pod) -> PodFacts {
    let metadata = &pod.metadata;
    let spec = pod.spec.as_ref();
    let status = pod.status.as_ref();
    let account = spec
        .and_then(|spec| spec.service_account_name.clone())
        .filter(|name| !name.is_empty());
    let ips: Vec<IpAddr> = status
        .and_then(|status| status.pod_ips.as_ref())
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ip.parse().ok())
        .collect();
    let phase = status.and_then(|status| status.phase.as_deref());
    PodFacts {
        uid: metadata.uid.clone().unwrap_or_default(),
        namespace: metadata.namespace.clone().unwrap_or_default(),
        name: metadata.name.clone().unwrap_or_default(),
        service_account: account.unwrap_or_else(|| "default".into()),
        labels: metadata.labels.clone().unwrap_or_default(),
        annotations: metadata.annotations.clone().unwrap_or_default(),
        node: spec.and_then(|spec| spec.node_name.clone()),
        host_network: spec.and_then(|spec| spec.host_network).unwrap_or(false),
        ips,
        finished: matches!(phase, Some("Succeeded" | "Failed")),
    }
}

const BETWEEN_TRIES: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn upsert(value: serde_json::Value) -> Change {
        Change::Upsert(Arc::new(Object::parse(value).unwrap()))
    }

    #[test]
    fn only_pods_of_this_node_are_told_of() {
        let pod = |name: &str, node: &str| {
            upsert(serde_json::json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": name, "namespace": "shop", "uid": "u", "labels": {"app": name}},
                "spec": {"nodeName": node, "serviceAccountName": "web", "containers": []},
                "status": {"podIPs": [{"ip": "10.244.1.5"}, {"ip": "junk"}], "phase": "Running"},
            }))
        };
        let namespace = upsert(serde_json::json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"a": "b"}},
        }));
        let batch = Batch {
            changes: vec![
                pod("here", "node-1"),
                pod("there", "node-2"),
                namespace,
                Change::Delete(ObjectKey::new(Kind::Pod, "shop", "gone")),
            ],
            problems: Vec::new(),
        };
        let facts = facts(&batch, "node-1", true);
        assert!(facts.complete);
        let told: Vec<_> = facts
            .pods
            .iter()
            .map(|((_, name), pod)| (name.as_str(), pod.is_some()))
            .collect();
        assert_eq!(told, [("here", true), ("there", false), ("gone", false)]);
        let here = facts.pods[0].1.as_ref().unwrap();
        assert_eq!(
            (here.service_account.as_str(), here.ips.len(), here.finished),
            ("web", 1, false)
        );
        assert_eq!(facts.namespaces[0].0, "shop");
    }
}
