//! The first node of an upgrade.
//! The agent's DaemonSet gets the new template with `OnDelete`, and only this node's pod is replaced: pods
//! of the mesh do not notice an agent that is away. The proxy comes as a DaemonSet of its own for this
//! node, beside the old one, which stays and is what remains when the new one goes again: nothing is cut
//! and nothing waits.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::{probe, verify};
use crate::cluster::{Cluster, Workload};
use crate::output;
use crate::target::Place;

/// The agent's DaemonSet.
pub(super) const AGENT: &str = "ambit-cni-node";
/// The proxy's.
pub(super) const PROXY: &str = "ztunnel";
/// The new proxy's, of one node.
pub(super) const BESIDE: &str = "ztunnel-canary";
/// What tells its pods from the others'.
const LABEL: &str = "ambit.io/canary";
/// What selects a node by name.
const HOSTNAME: &str = "kubernetes.io/hostname";
/// How often something is looked at.
const INTERVAL: Duration = Duration::from_millis(500);

/// The first node.
pub(super) struct Canary<'a> {
    place: &'a Place,
    cluster: &'a Cluster,
    /// Its name
    pub(super) node: String,
    /// Its label `kubernetes.io/hostname`
    hostname: String,
}

impl<'a> Canary<'a> {
    /// The node of that name; `auto` is where an earlier run began, else the node with the fewest
    /// captured pods among those that have any.
    ///
    /// # Errors
    /// If there is no such node, or it has no proxy.
    pub(super) async fn choose(
        place: &'a Place,
        cluster: &'a Cluster,
        wanted: &str,
    ) -> Result<Self> {
        let proxies = cluster
            .list("v1", "Pod", Some(&place.namespace), "app=ztunnel")
            .await?;
        let nodes: Vec<&str> = proxies
            .iter()
            .filter_map(|pod| pod["spec"]["nodeName"].as_str())
            .collect();
        let started = proxies
            .iter()
            .find(|pod| pod["metadata"]["labels"][LABEL] == "true")
            .and_then(|pod| pod["spec"]["nodeName"].as_str());
        let node = match (wanted, started) {
            ("auto", Some(node)) => node.to_owned(),
            ("auto", None) => quietest(cluster, &nodes).await?,
            (name, _) => name.to_owned(),
        };
        ensure!(
            nodes.contains(&node.as_str()),
            "no ztunnel runs on a node called {node}; nodes are {}",
            nodes.join(", ")
        );
        let key = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": node}});
        let live = cluster.live(&key).await?.unwrap_or_default();
        let hostname = live["metadata"]["labels"][HOSTNAME].as_str();
        Ok(Self {
            place,
            cluster,
            hostname: hostname.unwrap_or(&node).to_owned(),
            node,
        })
    }

    /// Brings the new parts to the node and tries them.
    ///
    /// # Errors
    /// What is not well.
    pub(super) async fn run(
        &self,
        agent: Option<&Value>,
        proxy: Option<&Value>,
        (observe, patience): (Duration, Duration),
    ) -> Result<()> {
        if let Some(agent) = agent {
            self.agent(agent, patience).await?;
        }
        if let Some(proxy) = proxy {
            let beside = beside(proxy, &self.hostname);
            self.cluster.apply(&beside, false).await?;
            let workload = Workload { object: beside };
            self.cluster
                .wait_ready(&workload, patience, |_, _| {})
                .await
                .context("the new proxy")?;
            output::line(format_args!("  the new proxy is ready, beside the old one"));
        }
        let names = if proxy.is_some() { BESIDE } else { PROXY };
        let before = verify::look(self.place, &self.node, names, patience).await?;
        output::line(format_args!("  {before}"));
        let image = proxy
            .or(agent)
            .and_then(|o| o.pointer("/spec/template/spec"))
            .context("a DaemonSet has pods")?;
        let said = probe::run(self, image, patience).await?;
        output::line(format_args!("  {said}"));
        tokio::time::sleep(observe).await;
        let after = verify::look(self.place, &self.node, names, patience).await?;
        output::line(format_args!(
            "  {}",
            verify::compare(&before, &after, proxy.is_some())?
        ));
        Ok(())
    }

    /// Replaces the agent of this node alone.
    async fn agent(&self, object: &Value, patience: Duration) -> Result<()> {
        let mut object = object.clone();
        object["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
        self.cluster.apply(&object, false).await?;
        let workload = Workload { object };
        let start = Instant::now();
        let mut deleted = None;
        loop {
            let newest = self.newest_revision(&workload).await?;
            let pod = self.pod_of(&workload).await?;
            if let (Some(newest), Some(pod)) = (newest, pod) {
                let name = pod["metadata"]["name"].as_str().unwrap_or_default();
                let old = pod["metadata"]["labels"]["controller-revision-hash"] != newest.as_str();
                if !old && is_ready(&pod) {
                    output::line(format_args!("  the new agent is ready ({name})"));
                    return Ok(());
                }
                if old && deleted.as_deref() != Some(name) {
                    self.cluster.delete(&pod).await?;
                    deleted = Some(name.to_owned());
                }
            }
            if start.elapsed() >= patience {
                let reason = self.cluster.reason(&workload).await?;
                bail!(
                    "the new agent is not ready after {} s: {reason}",
                    patience.as_secs()
                );
            }
            tokio::time::sleep(INTERVAL).await;
        }
    }

    /// The pod of a DaemonSet on this node; one that ends does not count.
    async fn pod_of(&self, workload: &Workload) -> Result<Option<Value>> {
        let pods = self
            .cluster
            .list(
                "v1",
                "Pod",
                Some(workload.namespace()),
                &workload.selector(),
            )
            .await?;
        Ok(pods.into_iter().find(|pod| {
            pod["spec"]["nodeName"] == self.node.as_str()
                && pod["metadata"]["deletionTimestamp"].is_null()
        }))
    }

    /// The hash of the newest template, once its controller has seen it.
    async fn newest_revision(&self, workload: &Workload) -> Result<Option<String>> {
        let live = self
            .cluster
            .live(&workload.object)
            .await?
            .unwrap_or_default();
        if live["status"]["observedGeneration"] != live["metadata"]["generation"] {
            return Ok(None);
        }
        let revisions = self
            .cluster
            .list(
                "apps/v1",
                "ControllerRevision",
                Some(workload.namespace()),
                &workload.selector(),
            )
            .await?;
        let newest = revisions
            .iter()
            .filter(|r| r["metadata"]["ownerReferences"][0]["uid"] == live["metadata"]["uid"])
            .max_by_key(|r| r["revision"].as_u64());
        let hash =
            newest.and_then(|r| r["metadata"]["labels"]["controller-revision-hash"].as_str());
        Ok(hash.map(str::to_owned))
    }

    /// Where it is looked at.
    pub(super) fn cluster(&self) -> &Cluster {
        self.cluster
    }
}

/// Takes the second proxy of the first node away, when every node has the new one.
///
/// # Errors
/// What the server refuses, a pod that does not end.
pub(crate) async fn remove(cluster: &Cluster, namespace: &str, patience: Duration) -> Result<()> {
    let key = json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet",
        "metadata": {"name": BESIDE, "namespace": namespace},
    });
    if cluster.delete(&key).await? {
        let selector = format!("app=ztunnel,{LABEL}=true");
        cluster.wait_gone(namespace, &selector, patience).await?;
        output::line("the second proxy of the first node has ended");
    }
    Ok(())
}

/// The node with the fewest captured pods, but some.
async fn quietest(cluster: &Cluster, nodes: &[&str]) -> Result<String> {
    let captured = "ambient.istio.io/redirection";
    let pods = cluster.list("v1", "Pod", None, "").await?;
    let count = |node: &str| {
        let on = |pod: &&Value| {
            pod["spec"]["nodeName"] == node && pod["metadata"]["annotations"][captured] == "enabled"
        };
        pods.iter().filter(on).count()
    };
    let node = nodes
        .iter()
        .map(|node| (count(node), *node))
        .min_by_key(|(count, node)| (*count == 0, *count, *node));
    let (_, node) = node.context("no ztunnel runs anywhere")?;
    Ok(node.to_owned())
}

fn is_ready(pod: &Value) -> bool {
    pod["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|c| c["type"] == "Ready" && c["status"] == "True")
}

/// The proxy's DaemonSet for one node. Pure.
fn beside(proxy: &Value, hostname: &str) -> Value {
    let mut object = proxy.clone();
    object["metadata"]["name"] = BESIDE.into();
    object["metadata"]["labels"][LABEL] = "true".into();
    object["spec"]["selector"]["matchLabels"][LABEL] = "true".into();
    let template = &mut object["spec"]["template"];
    template["metadata"]["labels"][LABEL] = "true".into();
    if !template["spec"]["nodeSelector"].is_object() {
        template["spec"]["nodeSelector"] = json!({});
    }
    template["spec"]["nodeSelector"][HOSTNAME] = hostname.into();
    // One that gets no configuration must not take connections from the old one.
    if let Some(env) = template["spec"]["containers"][0]["env"].as_array_mut() {
        env.push(json!({"name": "ZDS_AFTER_SYNC", "value": "true"}));
    }
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proxy_beside_is_of_one_node_and_not_the_others() {
        let proxy = json!({
            "kind": "DaemonSet",
            "metadata": {"name": PROXY, "namespace": "n", "labels": {"app": "ztunnel"}},
            "spec": {
                "selector": {"matchLabels": {"app": "ztunnel"}},
                "template": {"metadata": {"labels": {"app": "ztunnel"}}, "spec": {"containers": [{"env": []}]}},
            },
        });
        let made = beside(&proxy, "n1");
        let workload = Workload {
            object: made.clone(),
        };
        assert_eq!(workload.selector(), "app=ztunnel,ambit.io/canary=true");
        assert_eq!(workload.name(), BESIDE);
        assert_eq!(
            made["spec"]["template"]["spec"]["nodeSelector"],
            json!({"kubernetes.io/hostname": "n1"})
        );
        assert_eq!(
            made["spec"]["template"]["metadata"]["labels"]["app"],
            "ztunnel"
        );
        assert_eq!(
            made["spec"]["template"]["spec"]["containers"][0]["env"],
            json!([{"name": "ZDS_AFTER_SYNC", "value": "true"}])
        );
    }
}
