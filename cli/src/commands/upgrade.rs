//! `ambit upgrade`: brings a mesh to the manifests of this command, one node first.
//! Order: checks; kinds and controller; on one node the agent, then a node proxy beside the old one, which
//! is tried with real connections; only then every other node. What was there before is recorded, so that
//! `--rollback` can put it back; a run that was interrupted is gone on with by the next.

mod canary;
mod finish;
mod plan;
mod probe;
mod verify;

use std::io::IsTerminal as _;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::choice::{Choice, Chosen};
use crate::cluster::{Cluster, Workload, progress};
use crate::install::DEFAULT_REVISION;
use crate::output::{self, Verdict};
use crate::rollout::{self, Installed, Record};
use crate::target::{self, Place};
use crate::versions::{OWN, running, skew};
pub(crate) use canary::remove as remove_second_proxy;
use canary::{AGENT, Canary, PROXY};
use plan::{Plan, plan};

/// Options of `ambit upgrade`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    choice: Choice,
    /// Node that comes first; `auto` takes one with few pods of the mesh
    #[arg(long, default_value = "auto", value_name = "NODE")]
    canary_node: String,
    /// Upgrade every node at the pace of the DaemonSets, without trying one first
    #[arg(long)]
    skip_canary: bool,
    /// How long the first node is watched before the others follow
    #[arg(long, default_value = "15s", value_parser = crate::duration::parse, value_name = "DURATION")]
    observe: Duration,
    /// The installation of this revision
    #[arg(long, value_name = "NAME")]
    revision: Option<String>,
    /// Go back to what was there before the last upgrade or installation
    #[arg(long, conflicts_with_all = ["canary_node", "skip_canary", "profile", "sets", "files"])]
    rollback: bool,
    /// Say what would change, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Also if the versions do not fit or the mesh is not well now
    #[arg(long)]
    force: bool,
    /// Do not ask
    #[arg(short = 'y', long, visible_alias = "skip-confirmation")]
    yes: bool,
    /// How long to wait for each component
    #[arg(long, default_value = "300s", value_parser = crate::duration::parse, value_name = "DURATION")]
    readiness_timeout: Duration,
}

impl Args {
    /// Empty for the default one.
    fn revision(&self) -> &str {
        let given = self.revision.as_deref();
        given
            .filter(|name| *name != DEFAULT_REVISION)
            .unwrap_or_default()
    }
}

/// Upgrades, or goes back. [`Verdict::Wrong`] if the first node is not well: the others are as before.
///
/// # Errors
/// What the server refuses, versions that do not fit, a mesh that is not well before anything is changed.
pub(crate) async fn run(args: &Args, place: &Place) -> Result<Verdict> {
    let cluster = place.cluster.connect().await?;
    let namespace = place.namespace.as_str();
    let record = rollout::read(&cluster, namespace, args.revision())
        .await?
        .with_context(|| {
            format!(
                "there is no installation of this command in {namespace}; `ambit install` makes one"
            )
        })?;
    if args.rollback {
        return finish::rollback(args, &cluster, namespace, &record).await;
    }
    let chosen = chosen(args, &record, namespace)?;
    rollout::refuse_terminating(&cluster, namespace).await?;
    rollout::refuse_helm(&cluster, &chosen.components).await?;
    let resumed = record.pending.is_some();
    check(args, place, &cluster, &chosen, resumed).await?;
    let surplus = super::install::surplus(&cluster, &chosen, Some(&record)).await?;
    let plan = plan(&cluster, &chosen, &surplus).await?;
    if plan.is_empty() && !resumed {
        output::line(format_args!(
            "nothing to do: the mesh is what {OWN} would make it"
        ));
        return Ok(Verdict::Fine);
    }
    plan.print();
    if args.dry_run {
        return Ok(Verdict::Fine);
    }
    confirm(
        args,
        &format!("Upgrade the mesh in {namespace} of {}?", cluster.server),
    )?;
    let upgrade = Upgrade {
        args,
        place,
        cluster,
        chosen,
        plan,
    };
    let record = upgrade.begin(record).await?;
    upgrade.control_plane().await?;
    if !upgrade.canary().await? {
        return Ok(Verdict::Wrong);
    }
    upgrade.rest(record, &surplus).await?;
    Ok(Verdict::Fine)
}

/// What an unfinished upgrade leads to, else what is installed; with the options over it.
fn chosen(args: &Args, record: &Record, namespace: &str) -> Result<Chosen> {
    let base = record.pending.as_ref().unwrap_or(&record.current);
    let mut choice = base.choice()?;
    if args.choice.profile.is_some() {
        choice.profile.clone_from(&args.choice.profile);
    }
    choice.sets.extend(args.choice.sets.iter().cloned());
    choice.files.extend(args.choice.files.iter().cloned());
    choice.within(namespace).resolve()
}

/// Versions that fit, and a mesh that is well.
async fn check(
    args: &Args,
    place: &Place,
    cluster: &Cluster,
    chosen: &Chosen,
    resumed: bool,
) -> Result<()> {
    let target = target::open(place).await?;
    let mut against = skew(OWN, &running(&target).await);
    if !resumed {
        for workload in chosen
            .components
            .iter()
            .flat_map(|c| Workload::all(&c.objects))
        {
            let Some(live) = cluster.live(&workload.object).await? else {
                continue;
            };
            let now = progress(&live);
            if now.ready < now.wanted {
                let reason = cluster.reason(&workload).await?;
                against.push(format!(
                    "{} is not well before the upgrade: {}/{} ready, {reason}",
                    workload.name(),
                    now.ready,
                    now.wanted
                ));
            }
        }
    }
    if against.is_empty() {
        output::line(format_args!("versions: {OWN} fits every part of the mesh"));
        return Ok(());
    }
    if args.force {
        for line in &against {
            output::note(format_args!("in spite of: {line}"));
        }
        return Ok(());
    }
    bail!(
        "not upgraded (--force does it anyway):\n  {}",
        against.join("\n  ")
    )
}

fn confirm(args: &Args, question: &str) -> Result<()> {
    if args.yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        bail!("this changes the mesh; say --yes");
    }
    output::text(&format!("{question} Type `yes`: "));
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    if answer.trim() != "yes" {
        bail!("nothing was changed");
    }
    Ok(())
}

/// One run.
struct Upgrade<'a> {
    args: &'a Args,
    place: &'a Place,
    cluster: Cluster,
    chosen: Chosen,
    plan: Plan,
}

impl Upgrade<'_> {
    /// Records where it leads, before anything is changed.
    async fn begin(&self, record: Record) -> Result<Record> {
        let record = Record {
            pending: Some(Installed::of(&self.chosen)?),
            ..record
        };
        rollout::write(&self.cluster, &self.place.namespace, &record).await?;
        Ok(record)
    }

    /// Kinds, then what every other part needs.
    async fn control_plane(&self) -> Result<()> {
        rollout::definitions(&self.cluster, &self.chosen.definitions, false).await?;
        let mut workloads = Vec::new();
        for component in self.chosen.components.iter().filter(|c| c.is_first()) {
            workloads.extend(rollout::apply(&self.cluster, component, false).await?);
        }
        rollout::wait(&self.cluster, &workloads, self.args.readiness_timeout)
            .await
            .context(GO_BACK)
    }

    /// Tries one node. `false`: it is not well, and why was said.
    async fn canary(&self) -> Result<bool> {
        let object = |name: &str| -> Option<&Value> {
            self.chosen.objects().find(|o| {
                o["kind"] == "DaemonSet"
                    && o["metadata"]["name"] == name
                    && self.plan.replaces(name)
            })
        };
        let (agent, proxy) = (object(AGENT), object(PROXY));
        if self.args.skip_canary || (agent.is_none() && proxy.is_none()) {
            return Ok(true);
        }
        let canary = Canary::choose(self.place, &self.cluster, &self.args.canary_node).await?;
        output::line(format_args!("the first node is {}", canary.node));
        let tried = canary
            .run(
                agent,
                proxy,
                (self.args.observe, self.args.readiness_timeout),
            )
            .await;
        if let Err(error) = tried {
            output::error(&error.context(format!("{} is not well", canary.node)));
            output::line(format_args!("every other node is as before. {GO_BACK}"));
            return Ok(false);
        }
        output::line(format_args!("{} is well", canary.node));
        Ok(true)
    }

    /// Every other node, and the end of what is not needed any more.
    async fn rest(&self, record: Record, surplus: &rollout::Surplus) -> Result<()> {
        for component in self.chosen.components.iter().filter(|c| !c.is_first()) {
            let workloads = rollout::apply(&self.cluster, component, false).await?;
            rollout::wait(&self.cluster, &workloads, self.args.readiness_timeout)
                .await
                .context(GO_BACK)?;
        }
        let patience = self.args.readiness_timeout;
        let namespace = &self.place.namespace;
        canary::remove(&self.cluster, namespace, patience).await?;
        surplus.delete(&self.cluster, patience).await?;
        let next = Installed::of(&self.chosen)?;
        rollout::write(&self.cluster, namespace, &record.followed_by(next)).await?;
        output::line(format_args!(
            "upgraded to {OWN}; waypoints follow by themselves. `ambit upgrade --rollback` goes back"
        ));
        Ok(())
    }
}

/// How to undo it.
const GO_BACK: &str = "`ambit upgrade --rollback` goes back, `ambit upgrade` goes on from here";
