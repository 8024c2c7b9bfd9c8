//! `ambit verify-install`: compares the cluster with what was installed, and looks whether it works.

use anyhow::Result;
use serde::Serialize;

use crate::choice::Choice;
use crate::cluster::{Chosen as ChosenCluster, Workload, name_of, progress};
use crate::install::differences;
use crate::output::{self, Format, Verdict};
use crate::rollout;

/// Options of `ambit verify-install`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    choice: Choice,
    /// The installation of this revision
    #[arg(short, long, value_name = "NAME")]
    revision: Option<String>,
}

impl Args {
    /// The default choice of the revision.
    fn of_revision(&self, namespace: &str) -> Choice {
        let mut choice = self.choice.clone();
        let revision = self.revision.iter();
        choice
            .sets
            .extend(revision.map(|name| format!("revision={name}")));
        choice.within(namespace)
    }
}

/// One object.
#[derive(Serialize)]
struct Finding {
    object: String,
    /// `fine`, or what is wrong with it
    state: String,
    well: bool,
}

/// Verifies. Without a choice it is what the installation recorded. [`Verdict::Wrong`] if something is
/// missing, differs, or does not work.
pub(crate) async fn run(
    args: &Args,
    place: &ChosenCluster,
    namespace: &str,
    format: Format,
) -> Result<Verdict> {
    let cluster = place.connect().await?;
    let given = args.choice.profile.is_some()
        || !args.choice.sets.is_empty()
        || !args.choice.files.is_empty();
    let asked = match given {
        true => args.choice.clone().within(namespace).resolve()?,
        false => args.of_revision(namespace).resolve()?,
    };
    let revision = asked.settings.revision().unwrap_or_default();
    let record = rollout::read(&cluster, namespace, revision).await?;
    if record.as_ref().is_some_and(|r| r.pending.is_some()) {
        output::note(
            "an upgrade is under way: `ambit upgrade` goes on, `ambit upgrade --rollback` goes back",
        );
    }
    let choice = match (given, record) {
        (false, Some(record)) => record.current.choice()?,
        (false, None) => {
            output::note(format_args!(
                "no record of an installation in {namespace}: comparing with the default profile"
            ));
            args.of_revision(namespace)
        }
        (true, _) => args.choice.clone(),
    };
    let choice = choice.within(namespace);
    let chosen = choice.resolve()?;
    let mut findings = Vec::new();
    for object in chosen.definitions.iter().chain(chosen.objects()) {
        let live = cluster.live(object).await?;
        let state = match &live {
            None => Some("is missing".to_owned()),
            Some(_) if object["kind"] == "CustomResourceDefinition" => None,
            Some(live) => differences(object, live).first().map(ToString::to_string),
        };
        findings.push(Finding {
            object: name_of(object),
            well: state.is_none(),
            state: state.unwrap_or_else(|| "fine".to_owned()),
        });
    }
    for component in &chosen.components {
        for workload in Workload::all(&component.objects) {
            let Some(live) = cluster.live(&workload.object).await? else {
                continue;
            };
            let now = progress(&live);
            let reason = if now.done {
                String::new()
            } else {
                cluster.reason(&workload).await?
            };
            findings.push(Finding {
                object: format!("pods of {}", workload.name()),
                state: format!("{}/{} ready  {reason}", now.ready, now.wanted)
                    .trim_end()
                    .to_owned(),
                well: now.done,
            });
        }
    }
    print(&findings, format)
}

fn print(findings: &[Finding], format: Format) -> Result<Verdict> {
    let wrong = findings.iter().filter(|f| !f.well).count();
    if format == Format::Table {
        output::table(
            &["OBJECT", "STATE"],
            findings
                .iter()
                .map(|f| vec![f.object.clone(), f.state.clone()]),
        );
        output::line("");
        output::line(match wrong {
            0 => format!(
                "{} objects checked, the mesh is installed as chosen",
                findings.len()
            ),
            n => format!(
                "{} objects checked, {n} are not as they should be",
                findings.len()
            ),
        });
    } else {
        output::value(&findings, format)?;
    }
    Ok(if wrong == 0 {
        Verdict::Fine
    } else {
        Verdict::Wrong
    })
}
