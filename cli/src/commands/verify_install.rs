//! `ambit verify-install`: compares the cluster with what was installed, and looks whether it works.

use anyhow::Result;
use serde::Serialize;
use serde_json::Value;

use super::install::recorded;
use super::manifest::Choice;
use crate::cluster::{Chosen as ChosenCluster, Workload, name_of, progress};
use crate::output::{self, Format, Verdict};

/// Options of `ambit verify-install`.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    choice: Choice,
}

/// One object.
#[derive(Serialize)]
struct Finding {
    object: String,
    /// `fine`, or what is wrong with it
    state: String,
    well: bool,
}

/// Set by the controller while it runs.
const ITS_OWN: [&str; 1] = ["failurePolicy"];

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
    let recorded = recorded(&cluster, namespace).await?;
    let choice = match (given, recorded) {
        (false, Some(recorded)) => recorded,
        (false, None) => {
            output::note(format_args!(
                "no record of an installation in {namespace}: comparing with the default profile"
            ));
            args.choice.clone()
        }
        (true, _) => args.choice.clone(),
    };
    let choice = choice.within(namespace);
    let chosen = choice.resolve()?;
    let rest = chosen.components.iter().flat_map(|c| &c.objects);
    let mut findings = Vec::new();
    for object in chosen.definitions.iter().chain(rest) {
        let live = cluster.live(object).await?;
        let state = match &live {
            None => Some("is missing".to_owned()),
            Some(_) if object["kind"] == "CustomResourceDefinition" => None,
            Some(live) => difference("", object, live),
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

/// The first field of `wanted` that `live` has otherwise. What the server or others add does not count.
fn difference(path: &str, wanted: &Value, live: &Value) -> Option<String> {
    match (wanted, live) {
        (Value::Object(wanted), Value::Object(live)) => wanted.iter().find_map(|(key, value)| {
            if ITS_OWN.contains(&key.as_str()) || is_empty(value) {
                return None;
            }
            let path = format!("{path}.{key}");
            match live.get(key) {
                Some(live) => difference(&path, value, live),
                None => Some(format!("{path} is missing")),
            }
        }),
        (Value::Array(wanted), Value::Array(live)) if wanted.len() == live.len() => wanted
            .iter()
            .zip(live)
            .enumerate()
            .find_map(|(i, (wanted, live))| difference(&format!("{path}[{i}]"), wanted, live)),
        (Value::Array(wanted), Value::Array(live)) => Some(format!(
            "{path} has {} entries instead of {}",
            live.len(),
            wanted.len()
        )),
        _ if wanted == live => None,
        _ => Some(format!("{path} is {live} instead of {wanted}")),
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_array().is_some_and(Vec::is_empty)
        || value.as_object().is_some_and(serde_json::Map::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn only_what_was_applied_is_compared() {
        let wanted =
            json!({"spec": {"a": 1, "list": [{"x": 1}], "none": []}, "failurePolicy": "Ignore"});
        let live =
            json!({"spec": {"a": 1, "b": 2, "list": [{"x": 1, "y": 2}]}, "failurePolicy": "Fail"});
        assert_eq!(difference("", &wanted, &live), None);
        let live = json!({"spec": {"a": 2, "list": [{"x": 1}]}});
        assert_eq!(
            difference("", &wanted, &live).unwrap(),
            ".spec.a is 2 instead of 1"
        );
        let live = json!({"spec": {"a": 1, "list": []}});
        assert_eq!(
            difference("", &wanted, &live).unwrap(),
            ".spec.list has 0 entries instead of 1"
        );
    }
}
