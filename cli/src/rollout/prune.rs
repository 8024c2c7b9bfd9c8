//! What an earlier installation made and the new one does not have.
//! An object goes only if all of this holds: this command applied it (field manager), it has the label of
//! the mesh, no other tool owns it, and it is in the mesh's namespace or in the record of the earlier
//! installation. Definitions of kinds and namespaces never go: users' objects depend on them.

use std::time::Duration;

use ambit_api::labels;
use anyhow::{Context, Result};
use serde_json::Value;

use super::record::revision_of;
use crate::cluster::{Cluster, Workload, name_of};
use crate::install::{AMBIT, Bundle, MANAGER, PART_OF};
use crate::output;

/// Kinds with users' objects in them.
const KEPT: [&str; 2] = ["CustomResourceDefinition", "Namespace"];
/// Annotation of helm.
const HELM: &str = "meta.helm.sh/release-name";

/// Objects to delete, as the cluster has them.
pub(crate) struct Surplus(Vec<Value>);

impl Surplus {
    /// `Kind namespace/name` of each.
    pub(crate) fn names(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(name_of)
    }

    /// Deletes them and says so, one line each. Workloads go first and end before their accounts and
    /// rights do.
    ///
    /// # Errors
    /// What the server refuses, pods that do not end.
    pub(crate) async fn delete(&self, cluster: &Cluster, patience: Duration) -> Result<()> {
        let workloads: Vec<Workload> = Workload::all(&self.0).collect();
        for workload in &workloads {
            say_deleted(cluster, &workload.object).await?;
            cluster
                .wait_gone(workload.namespace(), &workload.selector(), patience)
                .await
                .with_context(|| format!("the pods of {}", workload.name()))?;
        }
        for object in &self.0 {
            if !workloads.iter().any(|w| is_same(&w.object, object)) {
                say_deleted(cluster, object).await?;
            }
        }
        Ok(())
    }
}

async fn say_deleted(cluster: &Cluster, object: &Value) -> Result<()> {
    if cluster.delete(object).await? {
        output::line(format_args!("{} deleted", name_of(object)));
    }
    Ok(())
}

/// Finds what `keep` does not have.
///
/// # Errors
/// If the server does not answer or refuses.
pub(crate) async fn surplus(
    cluster: &Cluster,
    namespace: &str,
    former: &[Value],
    keep: &[&Value],
) -> Result<Surplus> {
    let mut found: Vec<Value> = Vec::new();
    let selector = format!("{PART_OF}={AMBIT}");
    for (api_version, kind) in kinds() {
        for live in cluster
            .list(&api_version, &kind, Some(namespace), &selector)
            .await?
        {
            found.push(live);
        }
    }
    for object in former {
        if found.iter().any(|f| is_same(f, object)) {
            continue;
        }
        if let Some(mut live) = cluster.live(object).await? {
            live["apiVersion"] = object["apiVersion"].clone();
            live["kind"] = object["kind"].clone();
            found.push(live);
        }
    }
    found.retain(|live| is_ours(live) && !keep.iter().any(|wanted| is_same(live, wanted)));
    Ok(Surplus(found))
}

/// Kinds of a namespace that an installation has.
fn kinds() -> Vec<(String, String)> {
    let bundle = Bundle::embedded();
    let mut found = Vec::new();
    for object in bundle.all_objects() {
        let text = |key: &str| object[key].as_str().unwrap_or_default().to_owned();
        let kind = (text("apiVersion"), text("kind"));
        if object.pointer("/metadata/namespace").is_some() && !found.contains(&kind) {
            found.push(kind);
        }
    }
    found
}

/// Same group, kind, namespace and name; the version may differ. Pure.
fn is_same(a: &Value, b: &Value) -> bool {
    let group = |o: &Value| {
        let version = o["apiVersion"].as_str().unwrap_or_default();
        version
            .split_once('/')
            .map_or("", |(group, _)| group)
            .to_owned()
    };
    let meta = |o: &Value, key: &str| o["metadata"][key].as_str().unwrap_or_default().to_owned();
    a["kind"] == b["kind"]
        && group(a) == group(b)
        && meta(a, "name") == meta(b, "name")
        && meta(a, "namespace") == meta(b, "namespace")
}

/// Whether this command made it and nobody else holds it. Pure.
fn is_ours(live: &Value) -> bool {
    let meta = &live["metadata"];
    let applied = meta["managedFields"]
        .as_array()
        .into_iter()
        .flatten()
        .any(|entry| entry["manager"] == MANAGER && entry["operation"] == "Apply");
    let owned = meta["ownerReferences"]
        .as_array()
        .is_some_and(|owners| !owners.is_empty());
    let kept = KEPT.contains(&live["kind"].as_str().unwrap_or_default())
        || meta["name"].as_str().and_then(revision_of).is_some();
    applied
        && !owned
        && !kept
        && meta["labels"][PART_OF] == AMBIT
        // A tag is made and moved by a command of its own.
        && meta["labels"][labels::TAG].is_null()
        && meta["annotations"][HELM].is_null()
        && meta["deletionTimestamp"].is_null()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn live(kind: &str, name: &str) -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": kind,
            "metadata": {
                "name": name, "namespace": "istio-system",
                "labels": {PART_OF: AMBIT},
                "managedFields": [{"manager": MANAGER, "operation": "Apply"}],
            },
        })
    }

    #[test]
    fn only_what_this_command_applied_goes() {
        assert!(is_ours(&live("DaemonSet", "old")));
        let mut other = live("DaemonSet", "old");
        other["metadata"]["managedFields"][0]["manager"] = "kubectl".into();
        assert!(!is_ours(&other));
        let mut other = live("DaemonSet", "old");
        other["metadata"]["labels"] = json!({});
        assert!(!is_ours(&other));
        let mut other = live("DaemonSet", "old");
        other["metadata"]["annotations"] = json!({HELM: "mesh"});
        assert!(!is_ours(&other));
        let mut other = live("DaemonSet", "old");
        other["metadata"]["ownerReferences"] = json!([{"kind": "Gateway"}]);
        assert!(!is_ours(&other));
        assert!(!is_ours(&live("CustomResourceDefinition", "x")));
        assert!(!is_ours(&live("Namespace", "istio-system")));
        for record in ["ambit-installed", "ambit-installed-canary"] {
            assert!(!is_ours(&live("ConfigMap", record)));
        }
        let mut tag = live("Service", "istiod-revision-tag-prod");
        tag["metadata"]["labels"][labels::TAG] = "prod".into();
        assert!(!is_ours(&tag));
    }

    #[test]
    fn another_version_of_a_kind_is_the_same_object() {
        let mut newer = live("DaemonSet", "a");
        newer["apiVersion"] = "apps/v2".into();
        assert!(is_same(&newer, &live("DaemonSet", "a")));
        assert!(!is_same(&live("DaemonSet", "a"), &live("DaemonSet", "b")));
        assert!(!is_same(&live("DaemonSet", "a"), &live("Deployment", "a")));
    }

    #[test]
    fn kinds_that_are_looked_for_are_those_of_the_bundle() {
        let kinds = kinds();
        assert!(kinds.contains(&("apps/v1".to_owned(), "DaemonSet".to_owned())));
        assert!(!kinds.iter().any(|(_, kind)| kind == "ClusterRole"));
    }
}
