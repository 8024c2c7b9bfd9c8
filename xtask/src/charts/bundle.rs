//! What the CLI carries: every component's objects with a mark for each setting.
//! Out: `deploy/manifests/bundle.json`, with the objects of another revision beside those of the default one. The CLI needs no helm: it replaces `${key}` by the setting, as
//! a value of its own type where the mark is the whole text.

use std::path::Path;

use anyhow::{Result, ensure};
use serde_json::{Map, Value, json};

use super::plan::{COMPONENTS, Plan, mark};
use super::render::{Helm, NAMESPACE, Request, nothing};
use super::{Files, manifests};

/// A name that no object has for another reason, and that helm takes for a namespace.
const NAMESPACE_STAND_IN: &str = "ambit-namespace-stand-in";

/// The setting that names another revision than the default one.
const REVISION: &str = "revision";

/// The bundle.
///
/// # Errors
/// If helm refuses a chart, or a setting changes nothing.
pub(super) fn generate(helm: &Helm, plan: &Plan) -> Result<Files> {
    let (mut components, mut revised) = (Map::new(), Map::new());
    let mut all = String::new();
    for chart in COMPONENTS {
        let mut marks = plan.marks(chart);
        let plain = helm.objects(&request(chart, NAMESPACE, &nothing()))?;
        let mut render = |marks: &Value| -> Result<Value> {
            let mut objects =
                Value::from(helm.objects(&request(chart, NAMESPACE_STAND_IN, marks))?);
            rename(&mut objects);
            let marked = objects.as_array().map_or(0, Vec::len);
            ensure!(
                marked == plain.len(),
                "{chart}: a setting of the bundle adds or removes objects"
            );
            all.push_str(&objects.to_string());
            Ok(objects)
        };
        // Names and rules of another revision than the default one are others.
        if marks[REVISION].is_string() {
            revised.insert(chart.to_owned(), render(&marks)?);
            marks[REVISION] = "".into();
        }
        components.insert(chart.to_owned(), render(&marks)?);
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
        "revised": revised,
    });
    let text = format!("{:#}\n", bundle);
    Ok([(Path::new(manifests::DIRECTORY).join("bundle.json"), text)].into())
}

fn request<'a>(chart: &'a str, namespace: &'a str, values: &'a Value) -> Request<'a> {
    Request {
        chart,
        namespace,
        values,
        checked: false,
    }
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
