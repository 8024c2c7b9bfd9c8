//! Settings put into the bundle's objects. Pure.
//! A mark is `${key}`. Where it is all of a value, the setting takes its place with its own type; in an
//! environment variable and inside other text it is text. A variable without text is left out, as the
//! charts leave it out.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::bundle::Bundle;
use super::settings::Settings;

/// One part of an installation.
#[derive(Debug)]
pub(crate) struct Component {
    /// `base`, `controller`, `cni`, `ztunnel`
    pub(crate) name: String,
    /// Ready to be applied
    pub(crate) objects: Vec<Value>,
}

impl Component {
    /// Whether the others need it to become ready.
    pub(crate) fn is_first(&self) -> bool {
        ["base", "controller"].contains(&self.name.as_str())
    }
}

/// The objects of the components that are switched on.
///
/// # Errors
/// A mark that no setting has.
pub(crate) fn render(bundle: &Bundle, settings: &Settings) -> Result<Vec<Component>> {
    bundle
        .parts(settings.revision().is_some())
        .filter(|(name, _)| settings.is_on(name))
        .map(|(name, objects)| {
            let mut objects = objects.to_vec();
            for object in &mut objects {
                fill(object, false, settings).with_context(|| format!("component {name}"))?;
                extend(object, settings.env(name));
            }
            Ok(Component {
                name: name.to_owned(),
                objects,
            })
        })
        .collect()
}

/// Puts settings where their marks are.
fn fill(value: &mut Value, as_text: bool, settings: &Settings) -> Result<()> {
    match value {
        Value::String(text) if text.contains("${") => *value = filled(text, as_text, settings)?,
        Value::Array(items) => {
            for item in items.iter_mut() {
                fill(item, false, settings)?;
            }
            items.retain(|item| !is_empty_variable(item));
        }
        Value::Object(map) => {
            let variable = map.contains_key("name") && map.contains_key("value");
            for (key, inner) in map.iter_mut() {
                fill(inner, variable && key == "value", settings)?;
            }
        }
        _ => {}
    }
    Ok(())
}

fn filled(text: &str, as_text: bool, settings: &Settings) -> Result<Value> {
    let whole = text
        .strip_prefix("${")
        .and_then(|rest| rest.strip_suffix('}'));
    if let Some(key) = whole.filter(|key| !key.contains("${")) {
        let value = settings
            .get(key)
            .with_context(|| format!("`{key}` is no setting"))?;
        return Ok(if as_text {
            plain(value).into()
        } else {
            value.clone()
        });
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let Some((key, after)) = after.split_once('}') else {
            bail!("a mark in `{text}` does not end");
        };
        let value = settings
            .get(key)
            .with_context(|| format!("`{key}` is no setting"))?;
        out.push_str(before);
        out.push_str(&plain(value));
        rest = after;
    }
    out.push_str(rest);
    Ok(out.into())
}

/// A value inside text.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

fn is_empty_variable(item: &Value) -> bool {
    let Some(map) = item.as_object() else {
        return false;
    };
    map.len() == 2
        && map.contains_key("name")
        && map.get("value").and_then(Value::as_str) == Some("")
}

/// Sets further environment variables of the first container of a workload.
fn extend(object: &mut Value, env: &BTreeMap<String, String>) {
    let list = object.pointer_mut("/spec/template/spec/containers/0/env");
    let Some(list) = list.and_then(Value::as_array_mut) else {
        return;
    };
    for (name, value) in env {
        list.retain(|variable| variable["name"] != json!(name));
        list.push(json!({"name": name, "value": value}));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(profile: &str, sets: &[&str]) -> Settings {
        let bundle = Bundle::embedded();
        let mut settings = Settings::new(&bundle, bundle.profile(profile).unwrap());
        for set in sets {
            settings.set(set).unwrap();
        }
        settings
    }

    #[test]
    fn by_default_it_is_what_helm_renders() {
        let bundle = Bundle::embedded();
        for component in render(&bundle, &settings("default", &[])).unwrap() {
            let path = format!("../deploy/manifests/{}/manifest.yaml", component.name);
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
            let text = std::fs::read_to_string(path).unwrap();
            let mut plain: Vec<Value> = serde_saphyr::from_multiple(&text).unwrap();
            for object in &mut plain {
                drop_empty(object);
            }
            let mut own = component.objects;
            own.iter_mut().for_each(drop_empty);
            assert_eq!(own, plain, "{}", component.name);
        }
    }

    /// A chart leaves out what is empty, which says the same.
    fn drop_empty(value: &mut Value) {
        match value {
            Value::Object(map) => {
                map.values_mut().for_each(drop_empty);
                map.retain(|key, v| *key == "status" || (*v != json!([]) && *v != json!({})));
            }
            Value::Array(items) => items.iter_mut().for_each(drop_empty),
            _ => {}
        }
    }

    #[test]
    fn settings_reach_their_places_with_their_types() {
        let sets = [
            "hub=registry.example/x",
            "tag=1.10",
            "namespace=mesh",
            "controller.replicas=3",
            "cni.nameservers=10.0.0.10",
            "ztunnel.resources.limits.memory=1Gi",
            "ztunnel.env.EXTRA=on",
        ];
        let all = render(&Bundle::embedded(), &settings("demo", &sets)).unwrap();
        let find = |component: &str, kind: &str| {
            let component = all.iter().find(|c| c.name == component).unwrap();
            component
                .objects
                .iter()
                .find(|o| o["kind"] == kind)
                .unwrap()
                .clone()
        };
        let controller = find("controller", "Deployment");
        assert_eq!(controller["spec"]["replicas"], json!(3));
        assert_eq!(controller["metadata"]["namespace"], "mesh");
        let container = &controller["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["image"], "registry.example/x/controller:1.10");
        let ztunnel = find("ztunnel", "DaemonSet");
        let pod = &ztunnel["spec"]["template"]["spec"];
        assert_eq!(pod["terminationGracePeriodSeconds"], json!(30));
        let container = &pod["containers"][0];
        assert_eq!(
            container["resources"],
            json!({"requests": {"cpu": "10m", "memory": "64Mi"}, "limits": {"memory": "1Gi"}})
        );
        let env = container["env"].as_array().unwrap();
        assert!(env.contains(&json!({"name": "EXTRA", "value": "on"})));
        assert!(env.contains(&json!({"name": "TERMINATION_GRACE_PERIOD_SECONDS", "value": "30"})));
        assert!(
            env.iter().all(|v| v["name"] != "NETWORK"),
            "an empty variable is left out"
        );
        let env = find("cni", "DaemonSet")
            .pointer("/spec/template/spec/containers/0/env")
            .cloned();
        let nameservers = json!({"name": "AMBIT_NAMESERVERS", "value": "10.0.0.10"});
        assert!(env.unwrap().as_array().unwrap().contains(&nameservers));
        assert!(!format!("{all:?}").contains("${"), "no mark is left");
    }

    #[test]
    fn another_revision_has_a_controller_of_its_own() {
        let names = |sets: &[&str]| {
            let all = render(&Bundle::embedded(), &settings("minimal", sets)).unwrap();
            let of = all.iter().filter(|c| c.name == "controller");
            let objects: Vec<Value> = of.flat_map(|c| c.objects.clone()).collect();
            objects
                .iter()
                .map(|o| o["metadata"]["name"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        };
        let (default, canary) = (names(&[]), names(&["revision=canary"]));
        assert_eq!(default.len(), canary.len());
        for (plain, other) in default.iter().zip(&canary) {
            assert_ne!(plain, other);
            assert!(other.contains("-canary"), "{other}");
        }
        assert_eq!(names(&["revision=default"]), default);
        let all = render(
            &Bundle::embedded(),
            &settings("default", &["revision=canary"]),
        )
        .unwrap();
        let text = format!("{all:?}");
        assert!(text.contains("https://istiod-canary.istio-system.svc:15012"));
        assert!(!text.contains("${"), "no mark is left");
    }

    #[test]
    fn a_component_can_be_switched_off() {
        let names = |settings: &Settings| {
            let all = render(&Bundle::embedded(), settings).unwrap();
            all.into_iter().map(|c| c.name).collect::<Vec<_>>()
        };
        assert_eq!(names(&settings("minimal", &[])), ["base", "controller"]);
        assert_eq!(
            names(&settings("default", &["components.cni.enabled=false"])),
            ["base", "controller", "ztunnel"]
        );
        assert!(names(&settings("empty", &[])).is_empty());
    }
}
