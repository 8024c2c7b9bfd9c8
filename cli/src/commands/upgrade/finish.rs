//! Going back to what was there before.

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::super::install;
use super::{Args, canary, confirm};
use crate::cluster::{Applied, Cluster, Workload};
use crate::output::{self, Verdict};
use crate::rollout::{self, Installed, Record};

/// Applies the objects of the installation before, as they were. Kinds stay as they are: older programs
/// read objects of newer definitions.
///
/// # Errors
/// If nothing was recorded, what the server refuses, what does not become ready.
pub(super) async fn rollback(
    args: &Args,
    cluster: &Cluster,
    namespace: &str,
    record: &Record,
) -> Result<Verdict> {
    let goal = goal(record)?;
    let objects = goal.objects()?;
    ensure!(
        !objects.is_empty(),
        "the record of version {} has no objects; install that version with its own `ambit`",
        goal.version
    );
    let former = former(record)?;
    let others = install::elsewhere(cluster, namespace, &record.revision).await?;
    let keep: Vec<_> = objects.iter().chain(&others).collect();
    let surplus = rollout::surplus(cluster, namespace, &former, &keep).await?;
    output::line(format_args!(
        "going back to {} (profile {}), {} objects",
        goal.version,
        goal.profile,
        objects.len()
    ));
    for name in surplus.names() {
        output::line(format_args!("{name} is deleted"));
    }
    if args.dry_run {
        return Ok(Verdict::Fine);
    }
    confirm(
        args,
        &format!("Roll back the mesh in {namespace} of {}?", cluster.server),
    )?;
    // Proxies go back before the controller does: it may be newer than they are, not older.
    let (last, first): (Vec<_>, Vec<_>) = objects
        .iter()
        .cloned()
        .partition(|o| o["kind"] == "Deployment");
    let mut changed = 0;
    for group in [first, last] {
        changed += apply(cluster, &group).await?;
        let workloads: Vec<Workload> = Workload::all(&group).collect();
        rollout::wait(cluster, &workloads, args.readiness_timeout).await?;
        canary::remove(cluster, namespace, args.readiness_timeout).await?;
    }
    output::line(format_args!("{changed} objects changed back"));
    surplus.delete(cluster, args.readiness_timeout).await?;
    let record = Record {
        revision: record.revision.clone(),
        current: goal.clone(),
        previous: match &record.pending {
            Some(_) => record.previous.clone(),
            None => Some(record.current.clone()),
        },
        pending: None,
    };
    rollout::write(cluster, namespace, &record).await?;
    output::line(format_args!("the mesh is {} again", goal.version));
    Ok(Verdict::Fine)
}

/// What to go back to. In the middle of an upgrade that is what it started from.
fn goal(record: &Record) -> Result<&Installed> {
    if record.pending.is_some() {
        return Ok(&record.current);
    }
    let previous = record.previous.as_ref();
    previous.context("there is nothing to go back to: no upgrade was recorded")
}

/// Objects that may be there now.
fn former(record: &Record) -> Result<Vec<Value>> {
    let mut former = record.current.objects()?;
    if let Some(pending) = &record.pending {
        former.extend(pending.objects()?);
    }
    Ok(former)
}

/// Applies them and counts those that changed.
async fn apply(cluster: &Cluster, objects: &[Value]) -> Result<usize> {
    let classes = cluster.has_gateway_classes().await?;
    let mut changed = 0;
    for object in objects {
        if object["kind"] == "GatewayClass" && !classes {
            continue;
        }
        let applied = cluster.apply(object, false).await?;
        changed += usize::from(applied != Applied::Unchanged);
    }
    Ok(changed)
}
