//! `ambit uninstall`: takes the mesh away in the order in which traffic survives it.
//! First the webhook, so that nothing is refused by what is gone; then the agents, which restore their
//! nodes while the proxies still serve; then the proxies; then the rest.

mod revision;

use std::collections::BTreeSet;
use std::io::{IsTerminal, Write as _};
use std::time::Duration;

use ambit_api::labels;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::choice::Choice;
use crate::cluster::{Chosen as ChosenCluster, Cluster, Workload, name_of};
use crate::install::{AMBIT, DEFAULT_REVISION, PART_OF, definitions};
use crate::output::{self, Verdict};
use crate::rollout;

/// Options of `ambit uninstall`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Also the kinds with all their objects, the certificate authority and the namespace
    #[arg(long)]
    purge: bool,
    /// Only the controller of this revision, and what no other one needs
    #[arg(short, long, value_name = "NAME", conflicts_with = "purge")]
    revision: Option<String>,
    /// Do not ask
    #[arg(short = 'y', long, visible_alias = "skip-confirmation")]
    yes: bool,
    /// How long the agents may take to restore their nodes
    #[arg(long, default_value = "120s", value_parser = crate::duration::parse, value_name = "DURATION")]
    timeout: Duration,
}

/// Uninstalls.
///
/// # Errors
/// What the server refuses; pods that do not go.
pub(crate) async fn run(args: &Args, place: &ChosenCluster, namespace: &str) -> Result<Verdict> {
    let cluster = place.connect().await?;
    if let Some(revision) = args.revision.as_deref().filter(|r| *r != DEFAULT_REVISION) {
        return revision::run(args, &cluster, namespace, revision).await;
    }
    let objects = installed(namespace)?;
    if let Some(release) = cluster.helm_release(Workload::all(&objects)).await? {
        bail!("this mesh belongs to the helm release {release}; remove it with helm uninstall");
    }
    confirm(args, &cluster, namespace)?;
    let mut gone = Gone {
        cluster: &cluster,
        count: 0,
    };
    let (revisions, former) = recorded(&cluster, namespace).await;
    for webhook in of_kind(&objects, "ValidatingWebhookConfiguration") {
        gone.delete(webhook).await?;
    }
    for name in ["ambit-cni-node", "ztunnel", "ambit-controller"] {
        let found = Workload::all(&objects).find(|w| w.name() == name);
        let workload = found.with_context(|| format!("the manifests have no {name}"))?;
        if name == "ztunnel" {
            super::upgrade::remove_second_proxy(&cluster, namespace, args.timeout).await?;
        }
        if gone.delete(&workload.object).await? {
            output::note(format_args!("waiting for the pods of {name} to end"));
        }
        cluster
            .wait_gone(namespace, &workload.selector(), args.timeout)
            .await
            .with_context(|| format!("the pods of {name}"))?;
    }
    for object in objects.iter().rev().filter(|o| o["kind"] != "Namespace") {
        gone.delete(object).await?;
    }
    // Of another version, if that had more.
    let rest = rollout::surplus(&cluster, namespace, &former, &[]).await?;
    rest.delete(&cluster, args.timeout).await?;
    for map in cluster
        .list("v1", "ConfigMap", None, "istio.io/config=true")
        .await?
    {
        let name = map["metadata"]["name"].as_str().unwrap_or_default();
        if ["istio-ca-root-cert", "istio-ca-crl"].contains(&name) {
            gone.delete(&map).await?;
        }
    }
    for revision in &revisions {
        gone.delete(&rollout::key(namespace, revision)).await?;
        gone.delete(&revision::lease(namespace, revision)).await?;
    }
    for mut tag in cluster
        .list("v1", "Service", Some(namespace), labels::TAG)
        .await?
    {
        (tag["apiVersion"], tag["kind"]) = ("v1".into(), "Service".into());
        gone.delete(&tag).await?;
    }
    if args.purge {
        purge(&mut gone, namespace, args.timeout).await?;
    }
    output::line(format_args!("{} objects deleted", gone.count));
    remains(&cluster, args.purge, namespace).await?;
    Ok(Verdict::Fine)
}

fn confirm(args: &Args, cluster: &Cluster, namespace: &str) -> Result<()> {
    if args.yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        bail!("this takes the mesh away; say --yes");
    }
    let more = if args.purge {
        ", all objects of its kinds and its certificate authority"
    } else {
        ""
    };
    let what = match &args.revision {
        Some(revision) => format!("revision {revision} of the mesh"),
        None => "the mesh".to_owned(),
    };
    let question = format!(
        "Remove {what} in {namespace} of {}{more}? Type `yes`: ",
        cluster.server
    );
    output::text(&question);
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if answer.trim() != "yes" {
        bail!("nothing was removed");
    }
    Ok(())
}

/// What was installed, as far as it was recorded: a mesh goes without a record, too.
async fn recorded(cluster: &Cluster, namespace: &str) -> (BTreeSet<String>, Vec<Value>) {
    let mut revisions = BTreeSet::from([String::new()]);
    let records = async {
        let mut objects = Vec::new();
        let own = rollout::read(cluster, namespace, "").await?;
        for record in own
            .into_iter()
            .chain(rollout::others(cluster, namespace, "").await?)
        {
            objects.extend(record.objects()?);
            revisions.insert(record.revision);
        }
        anyhow::Ok(objects)
    };
    let objects = records.await.unwrap_or_else(|error| {
        output::note(format_args!(
            "the record of the installation is not used: {error:#}"
        ));
        Vec::new()
    });
    (revisions, objects)
}

/// Everything any profile installs.
fn installed(namespace: &str) -> Result<Vec<Value>> {
    let choice = Choice {
        profile: Some("default".to_owned()),
        sets: vec![format!("namespace={namespace}")],
        files: Vec::new(),
    };
    Ok(choice
        .resolve()?
        .components
        .into_iter()
        .flat_map(|c| c.objects)
        .collect())
}

fn of_kind<'a>(objects: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    objects.iter().filter(move |o| o["kind"] == kind)
}

fn key(api_version: &str, kind: &str, namespace: &str, name: &str) -> Value {
    json!({"apiVersion": api_version, "kind": kind, "metadata": {"namespace": namespace, "name": name}})
}

/// Deletes and counts. What belongs to another mesh stays.
struct Gone<'a> {
    cluster: &'a Cluster,
    count: usize,
}

impl Gone<'_> {
    async fn delete(&mut self, object: &Value) -> Result<bool> {
        if object["kind"] == "GatewayClass" {
            let live = self.cluster.live(object).await?;
            if live.is_none_or(|l| l["metadata"]["labels"][PART_OF] != AMBIT) {
                return Ok(false);
            }
        }
        let deleted = self.cluster.delete(object).await?;
        self.count += usize::from(deleted);
        Ok(deleted)
    }
}

/// Takes what users' objects depend on, and waits until it is gone: an installation that comes next
/// would be refused by what is only about to go.
async fn purge(gone: &mut Gone<'_>, namespace: &str, patience: Duration) -> Result<()> {
    for name in ["istio-ca-secret", "ambit-ca-roots"] {
        gone.delete(&key("v1", "Secret", namespace, name)).await?;
    }
    let mut wanted = definitions();
    wanted.push(json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}}));
    let mut going = Vec::new();
    for object in wanted {
        let live = gone.cluster.live(&object).await?;
        if live.is_some_and(|l| l["metadata"]["labels"][PART_OF] == AMBIT) {
            gone.delete(&object).await?;
            going.push(object);
        }
    }
    output::note("waiting for the kinds and the namespace to go");
    gone.cluster.wait_absent(&going, patience).await
}

/// Says what stays.
async fn remains(cluster: &Cluster, purged: bool, namespace: &str) -> Result<()> {
    if !purged {
        output::line(format_args!(
            "stays: the namespace {namespace}, the certificate authority in it, and the kinds with \
             their objects (`--purge` takes them, too)"
        ));
    }
    let selector = format!(
        "{},{}",
        ambit_api::labels::GATEWAY_NAME,
        ambit_api::labels::MANAGED
    );
    for deployment in cluster
        .list("apps/v1", "Deployment", None, &selector)
        .await?
    {
        output::line(format_args!(
            "stays without a controller: {} (it goes with its Gateway)",
            name_of(&deployment)
        ));
    }
    Ok(())
}
