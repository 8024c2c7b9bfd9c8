//! `deploy/charts/install.yaml` and the values of the charts, joined.
//! In: those files. Out: settings with their defaults and the charts they go to; profiles.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::workspace;

/// Every chart.
pub(super) const CHARTS: [&str; 5] = ["base", "controller", "cni", "ztunnel", "gateway"];
/// Charts that profiles consist of, in the order they are installed in.
pub(super) const COMPONENTS: [&str; 4] = ["base", "controller", "cni", "ztunnel"];

/// What can be set, and what is installed.
pub(super) struct Plan {
    /// In the order of the file
    pub(super) settings: Vec<Setting>,
    /// By name
    pub(super) profiles: BTreeMap<String, Profile>,
}

/// One setting.
#[derive(Clone)]
pub(super) struct Setting {
    /// As `--set` names it
    pub(super) key: String,
    /// For people
    pub(super) about: String,
    /// Of the chart's values
    pub(super) default: Value,
    /// Chart and the value there
    pub(super) places: Vec<(&'static str, String)>,
}

/// One profile.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Profile {
    /// For people
    pub(super) about: String,
    /// Charts
    pub(super) components: Vec<String>,
    /// Settings that differ from their defaults
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub(super) values: Map<String, Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    settings: Vec<Line>,
    profiles: BTreeMap<String, Profile>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    key: String,
    about: String,
}

/// Reads everything.
///
/// # Errors
/// A key that no chart has, charts that disagree about a default, a profile that names what is not there.
pub(super) fn read() -> Result<Plan> {
    let dir = workspace::root().join("deploy/charts");
    let load = |path: std::path::PathBuf| {
        std::fs::read_to_string(&path).with_context(|| path.display().to_string())
    };
    let file: File =
        serde_saphyr::from_str(&load(dir.join("install.yaml"))?).context("install.yaml")?;
    let mut values: BTreeMap<&'static str, Map<String, Value>> = BTreeMap::new();
    for chart in COMPONENTS {
        let text = load(dir.join(chart).join("values.yaml"))?;
        values.insert(
            chart,
            serde_saphyr::from_str(&text).with_context(|| format!("values of {chart}"))?,
        );
    }
    let settings: Vec<Setting> = file
        .settings
        .into_iter()
        .map(|line| setting(line, &values))
        .collect::<Result<_>>()?;
    for (name, profile) in &file.profiles {
        for key in profile.values.keys() {
            ensure!(
                settings.iter().any(|s| s.key == *key),
                "profile {name} sets `{key}`, which is no setting"
            );
        }
        for component in &profile.components {
            ensure!(
                COMPONENTS.contains(&component.as_str()),
                "profile {name}: there is no chart `{component}`"
            );
        }
    }
    Ok(Plan {
        settings,
        profiles: file.profiles,
    })
}

fn setting(line: Line, values: &BTreeMap<&'static str, Map<String, Value>>) -> Result<Setting> {
    let mut places = Vec::new();
    let mut default = None;
    for (chart, values) in values {
        let own = line
            .key
            .strip_prefix(chart)
            .and_then(|rest| rest.strip_prefix('.'));
        let path = own.unwrap_or(&line.key);
        let Some(value) = values.get(path) else {
            continue;
        };
        ensure!(
            default.is_none() || default == Some(value),
            "the charts disagree about the default of `{path}`"
        );
        default = Some(value);
        places.push((*chart, path.to_owned()));
    }
    let default = default
        .with_context(|| format!("no chart has a value `{}`", line.key))?
        .clone();
    Ok(Setting {
        key: line.key,
        about: line.about,
        default,
        places,
    })
}

impl Plan {
    /// Values of a chart with a profile's settings.
    pub(super) fn values(&self, chart: &str, profile: &Profile) -> Value {
        let mut out = Map::new();
        for setting in &self.settings {
            let Some(value) = profile.values.get(&setting.key) else {
                continue;
            };
            for (place, path) in &setting.places {
                if *place == chart {
                    out.insert(path.clone(), value.clone());
                }
            }
        }
        Value::Object(out)
    }

    /// Values of a chart with a mark in place of every setting.
    pub(super) fn marks(&self, chart: &str) -> Value {
        let mut out = Map::new();
        for setting in &self.settings {
            for (place, path) in &setting.places {
                if *place == chart {
                    out.insert(path.clone(), mark(&setting.key).into());
                }
            }
        }
        Value::Object(out)
    }
}

/// What stands for a setting in the CLI's bundle.
pub(super) fn mark(key: &str) -> String {
    format!("${{{key}}}")
}
