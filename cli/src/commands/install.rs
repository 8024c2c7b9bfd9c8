//! `ambit install`: applies the objects, component by component, and waits until each works.
//! Server-side apply; can be run again. Definitions that another installer owns are left as they are.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::manifest::{Choice, Chosen};
use crate::cluster::{Applied, Chosen as ChosenCluster, Cluster, Workload, name_of};
use crate::install::{AMBIT, Component, PART_OF};
use crate::output::{self, Verdict};

/// Options of `ambit install`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    choice: Choice,
    /// Ask the API server what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not wait until everything is ready
    #[arg(long)]
    no_wait: bool,
    /// How long to wait for each component
    #[arg(long, default_value = "300s", value_parser = crate::duration::parse, value_name = "DURATION")]
    readiness_timeout: Duration,
    /// Do not ask (nothing is asked; for scripts written for istioctl)
    #[arg(short = 'y', long, visible_alias = "skip-confirmation")]
    yes: bool,
}

/// Kinds that come from the Gateway API.
const GATEWAY_CLASS: &str = "GatewayClass";
/// Where the settings of an installation are kept.
pub(crate) const RECORD: &str = "ambit-installed";
/// How long the server may take to serve new kinds.
const DEFINITIONS: Duration = Duration::from_secs(60);

/// Installs.
///
/// # Errors
/// What the server refuses, or the reason why something does not become ready.
pub(crate) async fn run(args: &Args, place: &ChosenCluster, namespace: &str) -> Result<Verdict> {
    let chosen = args.choice.clone().within(namespace).resolve()?;
    let cluster = place.connect().await?;
    if chosen.components.is_empty() {
        output::line("nothing to install: every component is off");
        return Ok(Verdict::Fine);
    }
    output::note(format_args!(
        "installing profile {} into {} at {}",
        chosen.profile,
        chosen.settings.namespace(),
        cluster.server
    ));
    not_terminating(&cluster, chosen.settings.namespace()).await?;
    let workloads = chosen
        .components
        .iter()
        .flat_map(|c| Workload::all(&c.objects));
    if let Some(release) = cluster.helm_release(workloads).await? {
        bail!("this mesh belongs to the helm release {release}; change it with helm upgrade");
    }
    let classes = cluster.has_gateway_classes().await?;
    definitions(&cluster, &chosen, args.dry_run).await?;
    // The controller gives the others their certificates: they wait for it anyway.
    let (first, last): (Vec<_>, Vec<_>) = chosen
        .components
        .iter()
        .partition(|c| ["base", "controller"].contains(&c.name.as_str()));
    for group in [first, last] {
        let mut workloads = Vec::new();
        for component in group {
            workloads.extend(apply(&cluster, component, classes, args.dry_run).await?);
        }
        if args.dry_run {
            continue;
        }
        // Before anything is waited for: what does not become ready is installed, too.
        record(&cluster, &chosen).await?;
        if !args.no_wait {
            wait(&cluster, &workloads, args.readiness_timeout).await?;
        }
    }
    if args.dry_run {
        return Ok(Verdict::Fine);
    }
    if !classes {
        output::note(
            "the cluster has no Gateway API: waypoints need it; install its CRDs and run this again",
        );
    }
    output::line(
        "installed. Pods join with: kubectl label namespace NAME istio.io/dataplane-mode=ambient",
    );
    Ok(Verdict::Fine)
}

async fn not_terminating(cluster: &Cluster, namespace: &str) -> Result<()> {
    let key = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
    let live = cluster.live(&key).await?;
    if live.is_some_and(|l| l["status"]["phase"] == "Terminating") {
        bail!("namespace {namespace} is being deleted; run this again when it is gone");
    }
    Ok(())
}

async fn definitions(cluster: &Cluster, chosen: &Chosen, dry_run: bool) -> Result<()> {
    let mut foreign = Vec::new();
    let mut changed = 0;
    for definition in &chosen.definitions {
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
    if !chosen.definitions.is_empty() {
        output::line(format_args!(
            "kinds: {} definitions, {changed} changed",
            chosen.definitions.len()
        ));
    }
    if !dry_run {
        cluster
            .wait_established(&chosen.definitions, DEFINITIONS)
            .await
            .context("new kinds")?;
    }
    Ok(())
}

/// Applies a component and gives what is to be waited for.
async fn apply(
    cluster: &Cluster,
    component: &Component,
    classes: bool,
    dry_run: bool,
) -> Result<Vec<Workload>> {
    let mut counts = [0_usize; 3];
    for object in &component.objects {
        if object["kind"] == GATEWAY_CLASS {
            if !classes {
                continue;
            }
            // What a class stands for cannot be changed; another mesh's stays its own.
            if let Some(live) = cluster.live(object).await?
                && live["spec"]["controllerName"] != object["spec"]["controllerName"]
            {
                output::note(format_args!(
                    "left to {}: {}",
                    live["spec"]["controllerName"],
                    name_of(object)
                ));
                continue;
            }
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

fn is_not_found(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<kube::Error>()
        .is_some_and(|e| matches!(e, kube::Error::Api(status) if status.code == 404))
}

/// Waits for several workloads at once, one line each.
async fn wait(cluster: &Cluster, workloads: &[Workload], patience: Duration) -> Result<()> {
    let bars = MultiProgress::new();
    let style = ProgressStyle::with_template("{spinner} {prefix}  {msg}")
        .context("the template of progress lines")?;
    let waits = workloads.iter().map(|workload| {
        let bar = bars.add(ProgressBar::new_spinner().with_style(style.clone()));
        bar.set_prefix(workload.name().to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        async move {
            let outcome = cluster
                .wait_ready(workload, patience, |now, reason| {
                    bar.set_message(format!("{}/{} ready  {reason}", now.ready, now.wanted));
                })
                .await;
            bar.finish_and_clear();
            (workload, outcome)
        }
    });
    let mut failures = Vec::new();
    for (workload, outcome) in futures::future::join_all(waits).await {
        match outcome {
            Ok(()) => output::line(format_args!("{} is ready", workload.name())),
            Err(e) => failures.push(format!("{}: {e:#}", workload.name())),
        }
    }
    if !failures.is_empty() {
        bail!("not ready:\n  {}", failures.join("\n  "));
    }
    Ok(())
}

/// Keeps what was chosen, for `verify-install` and the next version.
async fn record(cluster: &Cluster, chosen: &Chosen) -> Result<()> {
    let namespace = chosen.settings.namespace();
    if !chosen.settings.is_on("base") && !chosen.settings.is_on("controller") {
        return Ok(());
    }
    let object = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": RECORD, "namespace": namespace, "labels": {PART_OF: AMBIT}},
        "data": {
            "profile": chosen.profile,
            "version": env!("CARGO_PKG_VERSION"),
            "settings": serde_json::to_string(chosen.settings.changed())?,
        },
    });
    cluster.apply(&object, false).await?;
    Ok(())
}

impl Cluster {
    /// Whether it knows GatewayClass.
    async fn has_gateway_classes(&self) -> Result<bool> {
        let definition = json!({
            "apiVersion": "apiextensions.k8s.io/v1",
            "kind": "CustomResourceDefinition",
            "metadata": {"name": "gatewayclasses.gateway.networking.k8s.io"},
        });
        Ok(self.live(&definition).await?.is_some())
    }
}

/// What the record says was chosen.
///
/// # Errors
/// If there is none, or it cannot be read.
pub(crate) async fn recorded(cluster: &Cluster, namespace: &str) -> Result<Option<Choice>> {
    let key = json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": RECORD, "namespace": namespace},
    });
    let Some(live) = cluster.live(&key).await? else {
        return Ok(None);
    };
    let text = |name: &str| live["data"][name].as_str().unwrap_or_default();
    let changed: serde_json::Map<String, Value> =
        serde_json::from_str(text("settings")).context("the record of the installation")?;
    let set = |(key, value): (String, Value)| match value {
        Value::String(text) => format!("{key}={text}"),
        other => format!("{key}={other}"),
    };
    Ok(Some(Choice {
        profile: Some(text("profile").to_owned()),
        sets: changed.into_iter().map(set).collect(),
        files: Vec::new(),
    }))
}
