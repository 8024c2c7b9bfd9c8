//! `ambit install`: applies the objects, component by component, and waits until each works.
//! Can be run again: what the installation before had and this one does not is deleted.

use std::time::Duration;

use anyhow::Result;
use serde_json::Value;

use super::tag;
use crate::choice::{Choice, Chosen};
use crate::cluster::{Chosen as ChosenCluster, Cluster};
use crate::output::{self, Verdict};
use crate::rollout::{self, Installed, Record, Surplus};

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
    let namespace = chosen.settings.namespace();
    output::note(format_args!(
        "installing profile {} into {namespace} at {}",
        chosen.profile, cluster.server
    ));
    rollout::refuse_terminating(&cluster, namespace).await?;
    rollout::refuse_helm(&cluster, &chosen.components).await?;
    let revision = chosen.settings.revision().unwrap_or_default();
    let former = rollout::read(&cluster, namespace, revision).await?;
    let surplus = surplus(&cluster, &chosen, former.as_ref()).await?;
    rollout::definitions(&cluster, &chosen.definitions, args.dry_run).await?;
    if args.dry_run {
        return dry_run(&cluster, &chosen, &surplus).await;
    }
    let record = match former {
        Some(former) => former.followed_by(Installed::of(&chosen)?),
        None => Record {
            revision: revision.to_owned(),
            current: Installed::of(&chosen)?,
            ..Record::default()
        },
    };
    // The controller gives the others their certificates: they wait for it anyway.
    let (first, last): (Vec<_>, Vec<_>) = chosen.components.iter().partition(|c| c.is_first());
    for group in [first, last] {
        let mut workloads = Vec::new();
        for component in group {
            workloads.extend(rollout::apply(&cluster, component, false).await?);
        }
        // Before anything is waited for: what does not become ready is installed, too.
        if chosen.settings.is_on("base") || chosen.settings.is_on("controller") {
            rollout::write(&cluster, namespace, &record).await?;
        }
        if !args.no_wait {
            rollout::wait(&cluster, &workloads, args.readiness_timeout).await?;
        }
    }
    surplus.delete(&cluster, args.readiness_timeout).await?;
    if !cluster.has_gateway_classes().await? {
        output::note(
            "the cluster has no Gateway API: waypoints need it; install its CRDs and run this again",
        );
    }
    if chosen.settings.is_on("controller") && !tag::is_default_held(&cluster, namespace).await? {
        output::note(format_args!(
            "nobody writes about objects without istio.io/rev: `ambit tag set default --revision {revision}`"
        ));
    }
    output::line(
        "installed. Pods join with: kubectl label namespace NAME istio.io/dataplane-mode=ambient",
    );
    Ok(Verdict::Fine)
}

/// What is there of the installation before and not chosen now, nor installed with another revision.
///
/// # Errors
/// If the server does not answer.
pub(crate) async fn surplus(
    cluster: &Cluster,
    chosen: &Chosen,
    former: Option<&Record>,
) -> Result<Surplus> {
    let objects = former.map_or_else(|| Ok(Vec::new()), |record| record.current.objects())?;
    let namespace = chosen.settings.namespace();
    let revision = chosen.settings.revision().unwrap_or_default();
    let others = elsewhere(cluster, namespace, revision).await?;
    let keep: Vec<_> = chosen.objects().chain(&others).collect();
    rollout::surplus(cluster, namespace, &objects, &keep).await
}

/// Objects that are installed with other revisions.
///
/// # Errors
/// If the server does not answer, or a record is broken.
pub(crate) async fn elsewhere(
    cluster: &Cluster,
    namespace: &str,
    revision: &str,
) -> Result<Vec<Value>> {
    let mut objects = Vec::new();
    for record in rollout::others(cluster, namespace, revision).await? {
        objects.extend(record.objects()?);
    }
    Ok(objects)
}

async fn dry_run(cluster: &Cluster, chosen: &Chosen, surplus: &Surplus) -> Result<Verdict> {
    for component in &chosen.components {
        rollout::apply(cluster, component, true).await?;
    }
    for name in surplus.names() {
        output::line(format_args!("{name} deleted (dry run)"));
    }
    Ok(Verdict::Fine)
}
