//! `ambit tag …`: further names of revisions, as `istioctl tag` has them.
//! In: names. Out: Services `istiod-revision-tag-<tag>` applied, printed, listed or deleted. Controllers read
//! them; whatever says `istio.io/rev: <tag>` is the named revision's from then on.

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write as _};

use ambit_api::labels;
use anyhow::{Context, Result, bail, ensure};
use clap::Subcommand;
use serde::Serialize;
use serde_json::{Value, json};

use crate::cluster::{Chosen as ChosenCluster, Cluster};
use crate::install::{AMBIT, DEFAULT_REVISION, PART_OF};
use crate::output::{self, Format, Verdict};

/// Options of `ambit tag`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Args)]
struct Pair {
    /// Name of the tag; `default` is what objects without `istio.io/rev` belong to
    tag: String,
    /// Revision it names
    #[arg(short, long, value_name = "NAME")]
    revision: String,
    /// Also if the tag names another revision now
    #[arg(long)]
    overwrite: bool,
    /// Do not ask (nothing is asked; for scripts written for istioctl)
    #[arg(short = 'y', long, visible_alias = "skip-confirmation")]
    yes: bool,
}

#[derive(Subcommand)]
enum What {
    /// Make a tag, or let it name another revision
    #[command(visible_alias = "create")]
    Set(Pair),
    /// Print a tag as YAML
    Generate(Pair),
    /// List tags, the revisions they name and the namespaces that use them
    #[command(visible_alias = "show")]
    List,
    /// Delete a tag
    #[command(visible_alias = "delete")]
    Remove {
        /// Name of the tag
        tag: String,
        /// Also if namespaces use it
        #[arg(short = 'y', long, visible_alias = "skip-confirmation")]
        yes: bool,
    },
}

/// One tag.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) struct Tag {
    /// Its name
    pub(super) tag: String,
    /// What it names
    pub(super) revision: String,
    /// Labelled with it
    namespaces: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// What the server refuses, a revision that does not run, a tag that is another one's.
pub(crate) async fn run(
    args: &Args,
    place: &ChosenCluster,
    namespace: &str,
    format: Format,
) -> Result<Verdict> {
    let cluster = place.connect().await?;
    match &args.what {
        What::Set(pair) => {
            check(&cluster, namespace, pair).await?;
            cluster.apply(&service(pair, namespace), false).await?;
            let Pair { tag, revision, .. } = pair;
            output::line(format_args!(
                "tag {tag} names revision {revision}: what is labelled {}={tag} is its own now",
                labels::REVISION
            ));
        }
        What::Generate(pair) => {
            check(&cluster, namespace, pair).await?;
            output::text(&serde_saphyr::to_string(&service(pair, namespace))?);
        }
        What::List => list(&all(&cluster, namespace).await?, format)?,
        What::Remove { tag, yes } => remove(&cluster, namespace, tag, *yes).await?,
    }
    Ok(Verdict::Fine)
}

async fn check(cluster: &Cluster, namespace: &str, pair: &Pair) -> Result<()> {
    let Pair { tag, revision, .. } = pair;
    let running = revisions(cluster, namespace).await?;
    ensure!(
        running.contains(revision),
        "no controller of revision {revision} is installed in {namespace}, only of {}",
        running.iter().cloned().collect::<Vec<_>>().join(", ")
    );
    ensure!(
        tag == DEFAULT_REVISION || !running.contains(tag),
        "{tag} is the name of a revision"
    );
    let there = all(cluster, namespace).await?;
    let there = there.iter().find(|there| there.tag == *tag);
    if let Some(there) = there.filter(|there| there.revision != *revision && !pair.overwrite) {
        bail!(
            "tag {tag} names revision {} already; change it with --overwrite",
            there.revision
        );
    }
    Ok(())
}

/// Revisions whose controllers are installed.
async fn revisions(cluster: &Cluster, namespace: &str) -> Result<BTreeSet<String>> {
    let selector = "app.kubernetes.io/name=ambit-controller";
    let found = cluster.list("apps/v1", "Deployment", Some(namespace), selector);
    let revision = |deployment: &Value| {
        let label = deployment["metadata"]["labels"][labels::REVISION].as_str();
        label.unwrap_or(DEFAULT_REVISION).to_owned()
    };
    Ok(found.await?.iter().map(revision).collect())
}

/// Every tag, by name.
///
/// # Errors
/// If the server does not answer.
pub(super) async fn all(cluster: &Cluster, namespace: &str) -> Result<Vec<Tag>> {
    let services = cluster
        .list("v1", "Service", Some(namespace), labels::TAG)
        .await?;
    let namespaces = cluster
        .list("v1", "Namespace", None, labels::REVISION)
        .await?;
    let label = |object: &Value, key: &str| {
        let found = object["metadata"]["labels"][key].as_str();
        found.unwrap_or_default().to_owned()
    };
    let mut tags: Vec<Tag> = services
        .iter()
        .map(|service| {
            let tag = label(service, labels::TAG);
            let users = namespaces.iter();
            let users = users.filter(|n| label(n, labels::REVISION) == tag);
            let name = |n: &Value| n["metadata"]["name"].as_str().map(str::to_owned);
            Tag {
                namespaces: users.filter_map(name).collect(),
                revision: label(service, labels::REVISION),
                tag,
            }
        })
        .collect();
    tags.sort();
    Ok(tags)
}

/// Whether some revision has the objects that name none.
///
/// # Errors
/// If the server does not answer.
pub(super) async fn is_default_held(cluster: &Cluster, namespace: &str) -> Result<bool> {
    let running = revisions(cluster, namespace).await?;
    let tags = all(cluster, namespace).await?;
    let holder = tags.iter().find(|tag| tag.tag == DEFAULT_REVISION);
    Ok(running.contains(holder.map_or(DEFAULT_REVISION, |tag| &tag.revision)))
}

fn list(tags: &[Tag], format: Format) -> Result<()> {
    if format != Format::Table {
        return output::value(&tags, format);
    }
    if tags.is_empty() {
        output::line("there are no tags");
        return Ok(());
    }
    let row = |tag: &Tag| {
        vec![
            tag.tag.clone(),
            tag.revision.clone(),
            tag.namespaces.join(","),
        ]
    };
    output::table(&["TAG", "REVISION", "NAMESPACES"], tags.iter().map(row));
    Ok(())
}

async fn remove(cluster: &Cluster, namespace: &str, tag: &str, yes: bool) -> Result<()> {
    let tags = all(cluster, namespace).await?;
    let found = tags.iter().find(|found| found.tag == tag);
    let found = found.with_context(|| format!("there is no tag {tag} in {namespace}"))?;
    if !found.namespaces.is_empty() && !yes {
        let users = found.namespaces.join(", ");
        ensure!(
            std::io::stdin().is_terminal(),
            "namespaces use tag {tag}: {users}; say --yes"
        );
        output::text(&format!(
            "Namespaces use tag {tag}: {users}. Their gateways will be nobody's. Type `yes`: "
        ));
        std::io::stdout().flush()?;
        let mut answer = String::new();
        std::io::stdin().read_line(&mut answer)?;
        ensure!(answer.trim() == "yes", "nothing was removed");
    }
    let selector = format!("{}={tag}", labels::TAG);
    for mut service in cluster
        .list("v1", "Service", Some(namespace), &selector)
        .await?
    {
        (service["apiVersion"], service["kind"]) = ("v1".into(), "Service".into());
        cluster.delete(&service).await?;
    }
    output::line(format_args!("tag {tag} removed"));
    Ok(())
}

/// The object. Pure.
fn service(pair: &Pair, namespace: &str) -> Value {
    let Pair { tag, revision, .. } = pair;
    let app = match revision.as_str() {
        DEFAULT_REVISION => "ambit-controller".to_owned(),
        revision => format!("ambit-controller-{revision}"),
    };
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": format!("istiod-revision-tag-{tag}"),
            "namespace": namespace,
            "labels": {
                labels::TAG: tag,
                labels::REVISION: revision,
                PART_OF: AMBIT,
                "app.kubernetes.io/name": "ambit-controller",
                "istio": "pilot",
            },
        },
        "spec": {
            "selector": {"app": app},
            "ports": [
                {"name": "grpc-xds", "port": ambit_api::ports::XDS, "protocol": "TCP"},
                {"name": "https-webhook", "port": 443, "targetPort": 15017, "protocol": "TCP"},
                {"name": "http-monitoring", "port": ambit_api::ports::CONTROL_METRICS, "protocol": "TCP"},
            ],
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_a_service_that_leads_to_its_revision() {
        let pair = |revision: &str| Pair {
            tag: "prod".into(),
            revision: revision.into(),
            overwrite: false,
            yes: false,
        };
        let made = service(&pair("canary"), "istio-system");
        assert_eq!(made["metadata"]["name"], "istiod-revision-tag-prod");
        assert_eq!(made["metadata"]["labels"]["istio.io/tag"], "prod");
        assert_eq!(made["metadata"]["labels"]["istio.io/rev"], "canary");
        assert_eq!(made["spec"]["selector"]["app"], "ambit-controller-canary");
        let made = service(&pair("default"), "istio-system");
        assert_eq!(made["spec"]["selector"]["app"], "ambit-controller");
    }
}
