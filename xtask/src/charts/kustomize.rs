//! Kustomizations: one per profile, made of the plain manifests and patches for what differs.
//! Out: `deploy/kustomize/<profile>/kustomization.yaml`.

use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use super::Files;
use super::plan::{Plan, Profile};
use super::render::{HEADER, Helm, NAMESPACE, Request, nothing};

const DIRECTORY: &str = "deploy/kustomize";

/// Every file.
///
/// # Errors
/// If helm refuses a chart.
pub(super) fn generate(helm: &Helm, plan: &Plan) -> Result<Files> {
    let mut files = Files::new();
    for (name, profile) in &plan.profiles {
        if profile.components.is_empty() {
            continue;
        }
        let mut resources = vec!["../../crds".to_owned()];
        let mut patches = Vec::new();
        for chart in &profile.components {
            resources.push(format!("../../manifests/{chart}"));
            patches.extend(patches_of(helm, plan, profile, chart)?);
        }
        let mut kustomization = json!({
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": resources,
        });
        if !patches.is_empty() {
            kustomization["patches"] = patches.into();
        }
        let text = format!("{HEADER}{}", serde_saphyr::to_string(&kustomization)?);
        files.insert(
            Path::new(DIRECTORY).join(name).join("kustomization.yaml"),
            text,
        );
    }
    Ok(files)
}

/// What the profile changes in a chart's objects.
fn patches_of(helm: &Helm, plan: &Plan, profile: &Profile, chart: &str) -> Result<Vec<Value>> {
    let render = |values: &Value| {
        helm.objects(&Request {
            chart,
            namespace: NAMESPACE,
            values,
            checked: true,
        })
    };
    let plain = render(&nothing())?;
    let changed = render(&plan.values(chart, profile))?;
    let mut patches = Vec::new();
    for (before, after) in plain.iter().zip(&changed) {
        let mut steps = Vec::new();
        differences("", before, after, &mut steps);
        if !steps.is_empty() {
            patches.push(json!({
                "target": {"kind": before["kind"], "name": before["metadata"]["name"]},
                "patch": serde_saphyr::to_string(&steps)?,
            }));
        }
    }
    Ok(patches)
}

/// RFC 6902 steps from one value to another; lists are replaced whole where their length differs.
fn differences(path: &str, before: &Value, after: &Value, steps: &mut Vec<Value>) {
    let escaped = |key: &str| format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
    match (before, after) {
        (Value::Object(a), Value::Object(b)) => {
            for key in a.keys().filter(|key| !b.contains_key(*key)) {
                steps.push(json!({"op": "remove", "path": escaped(key)}));
            }
            for (key, value) in b {
                match a.get(key) {
                    Some(old) => differences(&escaped(key), old, value, steps),
                    None => steps.push(json!({"op": "add", "path": escaped(key), "value": value})),
                }
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (i, (old, new)) in a.iter().zip(b).enumerate() {
                differences(&format!("{path}/{i}"), old, new, steps);
            }
        }
        _ if before == after => {}
        _ => steps.push(json!({"op": "replace", "path": path, "value": after})),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_names_only_what_differs() {
        let mut steps = Vec::new();
        let before = json!({"a": [{"x": 1, "y": 2}], "b/c": 1, "gone": 0});
        let after = json!({"a": [{"x": 1, "y": 3}], "b/c": 2, "new": 0});
        differences("", &before, &after, &mut steps);
        assert_eq!(
            Value::from(steps),
            json!([
                {"op": "remove", "path": "/gone"},
                {"op": "replace", "path": "/a/0/y", "value": 3},
                {"op": "replace", "path": "/b~1c", "value": 2},
                {"op": "add", "path": "/new", "value": 0},
            ])
        );
    }
}
