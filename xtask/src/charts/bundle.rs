//! What the CLI carries: every component's objects with a mark for each setting.
//! Out: `deploy/manifests/bundle.json`. The CLI needs no helm: it replaces `${key}` by the setting, as
//! a value of its own type where the mark is the whole text.

use std::path::Path;

use anyhow::{Result, ensure};
use serde_json::{Map, Value, json};

use super::plan::{COMPONENTS, Plan, mark};
use super::render::{Helm, NAMESPACE, Request, nothing};
use super::{Files, manifests};

/// A name that no object has for another reason, and that helm takes for a namespace.
const NAMESPACE_STAND_IN: &str = "ambit-namespace-stand-in";

/// The bundle.
///
/// # Errors
/// If helm refuses a chart, or a setting changes nothing.
pub(super) fn generate(helm: &Helm, plan: &Plan) -> Result<Files> {
    let mut components = Map::new();
    let mut all = String::new();
    for chart in COMPONENTS {
        let request = |namespace, values| Request {
            chart,
            namespace,
            values,
            checked: false,
        };
        let marks = plan.marks(chart);
        let mut objects = Value::from(helm.objects(&request(NAMESPACE_STAND_IN, &marks))?);
        rename(&mut objects);
        let plain = helm.objects(&request(NAMESPACE, &nothing()))?;
        let marked = objects.as_array().map_or(0, Vec::len);
        ensure!(
            marked == plain.len(),
            "{chart}: a setting of the bundle adds or removes objects"
        );
        all.push_str(&objects.to_string());
        components.insert(chart.to_owned(), objects);
    }
    for setting in &plan.settings {
        ensure!(
            all.contains(&mark(&setting.key)),
            "no object has the setting `{}`",
            setting.key
        );
    }
    let settings: Vec<Value> = plan
        .settings
        .iter()
        .map(|s| json!({"key": s.key, "about": s.about, "default": s.default}))
        .collect();
    let bundle = json!({
        "settings": settings,
        "profiles": plan.profiles,
        "components": components,
    });
    let text = format!("{:#}\n", bundle);
    Ok([(Path::new(manifests::DIRECTORY).join("bundle.json"), text)].into())
}

/// Puts the mark of the namespace where its stand-in is.
fn rename(value: &mut Value) {
    match value {
        Value::String(text) if text.contains(NAMESPACE_STAND_IN) => {
            *text = text.replace(NAMESPACE_STAND_IN, &mark("namespace"));
        }
        Value::Object(map) => map.values_mut().for_each(rename),
        Value::Array(items) => items.iter_mut().for_each(rename),
        _ => {}
    }
}
