//! One revision goes: what is recorded with it and with no other one.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::super::{install, tag};
use super::{Args, confirm};
use crate::cluster::Cluster;
use crate::output::{self, Verdict};
use crate::rollout;

/// Uninstalls one revision.
///
/// # Errors
/// If it was not installed by this command, or the server refuses something.
pub(super) async fn run(
    args: &Args,
    cluster: &Cluster,
    namespace: &str,
    revision: &str,
) -> Result<Verdict> {
    let record = rollout::read(cluster, namespace, revision).await?;
    let record = record.with_context(|| {
        format!("there is no installation of revision {revision} in {namespace}")
    })?;
    confirm(args, cluster, namespace)?;
    let others = install::elsewhere(cluster, namespace, revision).await?;
    let keep: Vec<&Value> = others.iter().collect();
    let surplus = rollout::surplus(cluster, namespace, &record.objects()?, &keep).await?;
    surplus.delete(cluster, args.timeout).await?;
    cluster.delete(&rollout::key(namespace, revision)).await?;
    cluster.delete(&lease(namespace, revision)).await?;
    for tag in tag::all(cluster, namespace).await? {
        if tag.revision == revision {
            output::line(format_args!(
                "tag {} still names it: `ambit tag set {} --revision NAME --overwrite`, or `ambit tag remove {}`",
                tag.tag, tag.tag, tag.tag
            ));
        }
    }
    output::line(format_args!("revision {revision} is uninstalled"));
    Ok(Verdict::Fine)
}

/// The Lease of a revision's controller.
pub(super) fn lease(namespace: &str, revision: &str) -> Value {
    let name = match revision {
        "" => "ambit-controller-leader".to_owned(),
        revision => format!("ambit-controller-leader-{revision}"),
    };
    json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"namespace": namespace, "name": name},
    })
}
