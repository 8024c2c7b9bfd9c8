//! Applying. Server-side apply; can be done again. Definitions that another installer owns are left as
//! they are, and so are classes of another mesh.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::cluster::{Applied, Cluster, Workload, name_of};
use crate::install::{AMBIT, Component, PART_OF};
use crate::output;

/// Kinds that come from the Gateway API.
const GATEWAY_CLASS: &str = "GatewayClass";
/// How long the server may take to serve new kinds.
const DEFINITIONS: Duration = Duration::from_secs(60);

/// Refuses to touch what helm installed.
///
/// # Errors
/// If one of these workloads is helm's, or the server does not answer.
pub(crate) async fn refuse_helm(cluster: &Cluster, components: &[Component]) -> Result<()> {
    let workloads = components.iter().flat_map(|c| Workload::all(&c.objects));
    if let Some(release) = cluster.helm_release(workloads).await? {
        bail!("this mesh belongs to the helm release {release}; change it with helm upgrade");
    }
    Ok(())
}

/// Refuses to put anything into a namespace that is going.
///
/// # Errors
/// If it is, or the server does not answer.
pub(crate) async fn refuse_terminating(cluster: &Cluster, namespace: &str) -> Result<()> {
    let key = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    let live = cluster.live(&key).await?;
    if live.is_some_and(|l| l["status"]["phase"] == "Terminating") {
        bail!("namespace {namespace} is being deleted; run this again when it is gone");
    }
    Ok(())
}

/// Applies definitions of kinds and waits until the server serves them.
///
/// # Errors
/// What the server refuses, kinds that it does not serve after a minute.
pub(crate) async fn definitions(cluster: &Cluster, wanted: &[Value], dry_run: bool) -> Result<()> {
    let mut foreign = Vec::new();
    let mut changed = 0;
    for definition in wanted {
        let live = cluster.live(definition).await?;
        let name = definition["metadata"]["name"].as_str().unwrap_or_default();
        if live.is_some_and(|live| live["metadata"]["labels"][PART_OF] != AMBIT) {
            foreign.push(name);
            continue;
        }
        if cluster.apply(definition, dry_run).await? != Applied::Unchanged {
            changed += 1;
        }
    }
    if !foreign.is_empty() {
        output::note(format_args!(
            "left as another installer made them: {}",
            foreign.join(", ")
        ));
    }
    if !wanted.is_empty() {
        output::line(format_args!(
            "kinds: {} definitions, {changed} changed",
            wanted.len()
        ));
    }
    if !dry_run {
        cluster
            .wait_established(wanted, DEFINITIONS)
            .await
            .context("new kinds")?;
    }
    Ok(())
}

/// Applies a component and gives what is to be waited for.
///
/// # Errors
/// What the server refuses.
pub(crate) async fn apply(
    cluster: &Cluster,
    component: &Component,
    dry_run: bool,
) -> Result<Vec<Workload>> {
    let mut counts = [0_usize; 3];
    for object in &component.objects {
        if object["kind"] == GATEWAY_CLASS && !may_apply_class(cluster, object).await? {
            continue;
        }
        let namespace_missing = dry_run && object["kind"] != "Namespace";
        let applied = match cluster.apply(object, dry_run).await {
            Ok(applied) => applied,
            // A dry run makes no namespace for what would be in it.
            Err(e) if namespace_missing && is_not_found(&e) => Applied::Created,
            Err(e) => return Err(e.context(format!("component {}", component.name))),
        };
        counts[applied as usize] += 1;
        if dry_run {
            output::line(format_args!("{} {applied} (dry run)", name_of(object)));
        }
    }
    let [created, configured, unchanged] = counts;
    output::line(format_args!(
        "{}: {created} created, {configured} configured, {unchanged} unchanged",
        component.name
    ));
    Ok(Workload::all(&component.objects).collect())
}

/// What a class stands for cannot be changed; another mesh's stays its own.
async fn may_apply_class(cluster: &Cluster, object: &Value) -> Result<bool> {
    if !cluster.has_gateway_classes().await? {
        return Ok(false);
    }
    let Some(live) = cluster.live(object).await? else {
        return Ok(true);
    };
    let ours = live["spec"]["controllerName"] == object["spec"]["controllerName"];
    if !ours {
        output::note(format_args!(
            "left to {}: {}",
            live["spec"]["controllerName"],
            name_of(object)
        ));
    }
    Ok(ours)
}

fn is_not_found(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<kube::Error>()
        .is_some_and(|e| matches!(e, kube::Error::Api(status) if status.code == 404))
}

impl Cluster {
    /// Whether it knows GatewayClass.
    ///
    /// # Errors
    /// If the server does not answer.
    pub(crate) async fn has_gateway_classes(&self) -> Result<bool> {
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": "gatewayclasses.gateway.networking.k8s.io"},
        });
        Ok(self.live(&definition).await?.is_some())
    }
}
