//! What runs in a namespace, as `kubectl` shows it.
//! In: a cluster. Out: pods by name with what must not change while they join and leave.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::site::Site;

/// The agent's word on a pod.
const REDIRECTION: &str = "ambient.istio.io/redirection";

/// One pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pod {
    pub(crate) uid: String,
    pub(crate) restarts: u64,
    pub(crate) ready: bool,
    pub(crate) ip: String,
    /// The annotation `ambient.istio.io/redirection`
    pub(crate) redirection: Option<String>,
}

/// Pods of the namespace `default` that are no gateway's, by name.
pub(crate) fn pods(site: &Site) -> Result<BTreeMap<String, Pod>> {
    pods_of(site, "default")
}

/// The same of any namespace.
pub(crate) fn pods_of(site: &Site, namespace: &str) -> Result<BTreeMap<String, Pod>> {
    let namespace = format!("--namespace={namespace}");
    let selector = "--selector=!gateway.networking.k8s.io/gateway-name";
    let list = site.get(&[&namespace, "pods", selector])?;
    let items = list["items"].as_array().context("a list of pods")?;
    items.iter().map(read).collect()
}

fn read(pod: &Value) -> Result<(String, Pod)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let name = text(&pod["metadata"]["name"]);
    let containers = pod["status"]["containerStatuses"].as_array();
    let containers = containers.with_context(|| format!("no container of {name} has started"))?;
    let redirection = pod["metadata"]["annotations"][REDIRECTION].as_str();
    Ok((
        name,
        Pod {
            uid: text(&pod["metadata"]["uid"]),
            restarts: containers
                .iter()
                .filter_map(|c| c["restartCount"].as_u64())
                .sum(),
            ready: containers.iter().all(|c| c["ready"] == true),
            ip: text(&pod["status"]["podIP"]),
            redirection: redirection.map(str::to_owned),
        },
    ))
}

/// Fails unless every pod of `before` is still the same, was not restarted, and is Ready.
pub(crate) fn untouched(before: &BTreeMap<String, Pod>, now: &BTreeMap<String, Pod>) -> Result<()> {
    for (name, pod) in before {
        let found = now.get(name).with_context(|| format!("{name} is gone"))?;
        ensure!(
            (&found.uid, found.restarts) == (&pod.uid, pod.restarts),
            "{name} was replaced or restarted: {pod:?}, now {found:?}"
        );
        ensure!(found.ready, "{name} is not Ready: {found:?}");
    }
    Ok(())
}
