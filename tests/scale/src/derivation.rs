//! The index alone, in this process: what one change costs in a mesh of this size.
//! In: the made-up cluster of `control_plane`, as objects. Out: lines with times of [`Index::apply`].
//! No API server, no proxies: what is left of a change's way is measured by `control-plane`.

use crate::control_plane::{Population, Subject};
use crate::figures::{Durations, ms, say};
use ambit_crds::Object;
use ambit_index::{Change, Index, MeshConfig, WaypointForm};
use anyhow::{Context as _, Result, anyhow};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

/// Options.
#[derive(clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    size: crate::control_plane::Size,
    /// Changes of each kind
    #[arg(long, default_value_t = 200)]
    changes: usize,
}

/// Measures everything.
pub(crate) fn run(args: &Args) -> Result<()> {
    let population = args.size.population()?;
    let documents = documents(&population);
    let all: Vec<Change> = documents.values().map(parsed).collect::<Result<_>>()?;
    let count = all.len();
    let mut index = Index::new(MeshConfig {
        waypoint_image: String::new(),
        waypoints: WaypointForm::Deployments {
            control_plane: String::new(),
        },
        ..MeshConfig::default()
    });
    let start = Instant::now();
    let output = index.apply(all);
    say(&format!(
        "{count} objects: {} for the first batch, {} resources",
        ms(start.elapsed()),
        output.resources.len()
    ));
    for subject in Subject::ALL {
        let mut all = Durations::default();
        let mut changed = 0;
        for number in 1..=args.changes {
            let (path, patch) = subject.patch(number);
            let mut document = documents.get(&path).context("the object")?.clone();
            merge(&mut document, &patch);
            let change = parsed(&document)?;
            let start = Instant::now();
            let output = index.apply(vec![change]);
            all.add(start.elapsed());
            changed += output.resources.len();
        }
        say(&format!(
            "  {:<34} p50 {:>9}  p99 {:>9}  ({} times, {changed} resources)",
            subject.title(),
            ms(all.percentile(50)),
            ms(all.percentile(99)),
            all.count(),
        ));
    }
    Ok(())
}

/// Everything there is, by path, as an API server would have filled it in.
fn documents(population: &Population) -> BTreeMap<String, Value> {
    let made = population.ground().into_iter();
    let made = made.chain(population.services()).chain(population.pods());
    let mut services = 0_u32;
    made.chain(Subject::made())
        .map(|made| {
            let mut document = made.object;
            if let Some(status) = made.status {
                merge(&mut document, &status);
            }
            if document["kind"] == "Service" {
                services += 1;
                let [_, _, high, low] = services.to_be_bytes();
                document["spec"]["clusterIP"] = format!("10.96.{high}.{low}").into();
            }
            let name = document["metadata"]["name"].as_str().unwrap_or_default();
            (format!("{}/{name}", made.path), document)
        })
        .collect()
}

fn parsed(document: &Value) -> Result<Change> {
    let object = Object::parse(document.clone()).map_err(|errors| anyhow!("{errors:?}"))?;
    Ok(Change::Upsert(Arc::new(object)))
}

/// RFC 7396, for patches that take nothing away.
fn merge(document: &mut Value, patch: &Value) {
    match (document, patch) {
        (Value::Object(map), Value::Object(patch)) => {
            for (name, value) in patch {
                merge(map.entry(name.clone()).or_insert(Value::Null), value);
            }
        }
        (document, patch) => *document = patch.clone(),
    }
}
