//! Settings: defaults, then the profile's, then files, then `--set`. Pure.
//! Keys of istioctl that mean the same are understood; any other unknown key is an error that names
//! what can be set, because a setting that is silently ignored may be a safety setting.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Map, Value};

use super::bundle::{Bundle, Profile};

/// The namespace of the mesh.
pub(crate) const NAMESPACE: &str = "istio-system";

/// The revision that has no name of its own.
pub(crate) const DEFAULT_REVISION: &str = "default";

/// Every setting with its value.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    values: BTreeMap<String, Value>,
    /// Set over the defaults, to be kept with the installation
    changed: BTreeMap<String, Value>,
    components: BTreeSet<String>,
    on: BTreeSet<String>,
    env: BTreeMap<String, BTreeMap<String, String>>,
}

/// Upstream's name and ours, for what means the same.
const ALIASES: [(&str, &str); 6] = [
    ("global.istioNamespace", "namespace"),
    ("global.multiCluster.clusterName", "clusterId"),
    ("global.proxy.clusterDomain", "clusterDomain"),
    ("global.logging.level", "logLevel"),
    ("meshConfig.trustDomain", "trustDomain"),
    ("pilot.replicaCount", "controller.replicas"),
];

impl Settings {
    /// Those of a profile.
    pub(crate) fn new(bundle: &Bundle, profile: &Profile) -> Self {
        let mut values: BTreeMap<String, Value> = bundle
            .settings
            .iter()
            .map(|s| (s.key.clone(), s.default.clone()))
            .collect();
        values.extend(
            profile
                .values
                .iter()
                .map(|(key, value)| (key.clone(), value.clone())),
        );
        values.insert("namespace".to_owned(), NAMESPACE.into());
        Self {
            values,
            changed: BTreeMap::new(),
            components: bundle.components().map(str::to_owned).collect(),
            on: profile.components.iter().cloned().collect(),
            env: BTreeMap::new(),
        }
    }

    /// The value of a setting.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// Namespace of the mesh.
    pub(crate) fn namespace(&self) -> &str {
        self.get("namespace")
            .and_then(Value::as_str)
            .unwrap_or(NAMESPACE)
    }

    /// The revision, unless it is the default one.
    pub(crate) fn revision(&self) -> Option<&str> {
        let given = self.get("revision").and_then(Value::as_str);
        given.filter(|name| !["", DEFAULT_REVISION].contains(name))
    }

    /// Whether a component is installed.
    pub(crate) fn is_on(&self, component: &str) -> bool {
        self.on.contains(component)
    }

    /// Further environment of a component.
    pub(crate) fn env(&self, component: &str) -> &BTreeMap<String, String> {
        static NONE: BTreeMap<String, String> = BTreeMap::new();
        self.env.get(component).unwrap_or(&NONE)
    }

    /// What was set over the profile.
    pub(crate) fn changed(&self) -> &BTreeMap<String, Value> {
        &self.changed
    }

    /// One `--set key=value`.
    ///
    /// # Errors
    /// An unknown key, a value of the wrong type.
    pub(crate) fn set(&mut self, text: &str) -> Result<()> {
        let (key, value) = text
            .split_once('=')
            .with_context(|| format!("`--set {text}`: expected key=value"))?;
        self.put(&segments(key), Value::from(value))
            .with_context(|| format!("--set {text}"))
    }

    /// A values file: our own keys as a tree, or an IstioOperator.
    ///
    /// # Errors
    /// As [`Settings::set`].
    pub(crate) fn merge(&mut self, file: &Value) -> Result<()> {
        let tree = match file.get("kind").and_then(Value::as_str) {
            Some("IstioOperator") => file.get("spec").unwrap_or(&Value::Null),
            _ => file,
        };
        ensure!(
            tree.is_object() || tree.is_null(),
            "expected a map of settings"
        );
        self.walk(&mut Vec::new(), tree)
    }

    fn walk(&mut self, path: &mut Vec<String>, tree: &Value) -> Result<()> {
        let key = canonical(path).join(".");
        let Value::Object(map) = tree else {
            return if tree.is_null() {
                Ok(())
            } else {
                self.put(path, tree.clone())
            };
        };
        if self.values.contains_key(&key) {
            return self.put(path, tree.clone());
        }
        for (name, inner) in map {
            path.push(name.clone());
            self.walk(path, inner)?;
            path.pop();
        }
        Ok(())
    }

    fn put(&mut self, path: &[String], value: Value) -> Result<()> {
        let path = canonical(path);
        let key = path.join(".");
        if let [component, switch] = &path[..]
            && switch == "enabled"
            && self.components.contains(component)
        {
            let on = match &value {
                Value::Bool(on) => *on,
                Value::String(text) => text.parse().context("expected true or false")?,
                _ => bail!("{key}: expected true or false"),
            };
            if on {
                self.on.insert(component.clone());
            } else {
                self.on.remove(component);
            }
            self.changed.insert(key, on.into());
            return Ok(());
        }
        if let [component, word, name] = &path[..]
            && word == "env"
            && self.components.contains(component)
        {
            let text = text_of(&value).with_context(|| format!("{key}: expected text"))?;
            self.changed.insert(key, text.clone().into());
            self.env
                .entry(component.clone())
                .or_default()
                .insert(name.clone(), text);
            return Ok(());
        }
        for end in (1..=path.len()).rev() {
            let key = path[..end].join(".");
            let Some(current) = self.values.get_mut(&key) else {
                continue;
            };
            put_into(current, &path[end..], value).with_context(|| format!("setting {key}"))?;
            self.changed.insert(key, current.clone());
            return Ok(());
        }
        bail!(
            "`{key}` cannot be set. These can: {}",
            self.names().join(", ")
        )
    }

    /// Everything that can be set, for people.
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.values.keys().cloned().collect();
        for component in &self.components {
            names.push(format!("{component}.enabled"));
        }
        names.push("controller|cni|ztunnel.env.NAME".to_owned());
        names
    }
}

/// Splits at dots; a backslash takes the next character as it is, as helm does.
fn segments(key: &str) -> Vec<String> {
    let mut out = vec![String::new()];
    let mut chars = key.trim().chars();
    while let Some(c) = chars.next() {
        let last = out.len() - 1;
        match c {
            '.' => out.push(String::new()),
            '\\' => out[last].extend(chars.next()),
            c => out[last].push(c),
        }
    }
    out
}

/// Our key for a key of ours or of istioctl.
fn canonical(path: &[String]) -> Vec<String> {
    let mut path: Vec<String> = path.to_vec();
    for dropped in ["spec", "values", "components"] {
        if path.len() > 1 && path[0] == dropped {
            path.remove(0);
        }
    }
    let joined = path.join(".");
    if let Some((_, own)) = ALIASES.iter().find(|(theirs, _)| *theirs == joined) {
        return segments(own);
    }
    if path.len() > 1 && path[0] == "global" {
        path.remove(0);
    }
    if let Some(first) = path.first_mut()
        && ["pilot", "istiod"].contains(&first.as_str())
    {
        *first = "controller".to_owned();
    }
    path
}

/// Sets a value, or a part of it, keeping its type.
fn put_into(current: &mut Value, rest: &[String], value: Value) -> Result<()> {
    if let [name, rest @ ..] = rest {
        let Value::Object(map) = current else {
            bail!("it has no part `{name}`");
        };
        if rest.is_empty() {
            map.insert(name.clone(), value);
            return Ok(());
        }
        let inner = map.entry(name.clone()).or_insert_with(|| Map::new().into());
        return put_into(inner, rest, value);
    }
    *current = typed(current, value)?;
    Ok(())
}

fn typed(like: &Value, value: Value) -> Result<Value> {
    match (like, value) {
        (Value::String(_), Value::Array(items)) => {
            let texts: Option<Vec<String>> = items.iter().map(text_of).collect();
            Ok(texts.context("expected text")?.join(",").into())
        }
        (Value::String(_), value) => Ok(text_of(&value).context("expected text")?.into()),
        (Value::Number(_), Value::Number(n)) => Ok(n.into()),
        (Value::Number(_), Value::String(text)) => {
            let number: u64 = text.trim().parse().context("expected a number")?;
            Ok(number.into())
        }
        (Value::Bool(_), Value::Bool(on)) => Ok(on.into()),
        (Value::Bool(_), Value::String(text)) => Ok(text
            .trim()
            .parse::<bool>()
            .context("expected true or false")?
            .into()),
        (Value::Object(_), Value::Object(map)) => Ok(map.into()),
        (Value::Array(_), Value::Array(items)) => Ok(items.into()),
        (Value::Object(_) | Value::Array(_), Value::String(text)) => {
            let parsed: Value = serde_saphyr::from_str(&text).context("expected YAML or JSON")?;
            ensure!(
                parsed.is_object() == like.is_object() && parsed.is_array() == like.is_array(),
                "expected a {}",
                if like.is_object() { "map" } else { "list" }
            );
            Ok(parsed)
        }
        (like, value) => bail!("{value} is not of the type of {like}"),
    }
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(n) => Some(n.to_string()),
        Value::Bool(b) => Some(b.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn defaults() -> Settings {
        let bundle = Bundle::embedded();
        Settings::new(&bundle, bundle.profile("default").unwrap())
    }

    #[test]
    fn upstreams_names_are_understood() {
        let mut s = defaults();
        for set in [
            "values.global.hub=r/x",
            "values.global.istioNamespace=mesh",
            "values.pilot.replicaCount=2",
            "meshConfig.trustDomain=t.example",
            "values.cni.cniBinDir=/home/kubernetes/bin",
            "components.ztunnel.enabled=false",
            "values.pilot.env.X=1",
        ] {
            s.set(set).unwrap();
        }
        assert_eq!(s.get("hub"), Some(&json!("r/x")));
        assert_eq!(s.namespace(), "mesh");
        assert_eq!(s.get("controller.replicas"), Some(&json!(2)));
        assert_eq!(s.get("trustDomain"), Some(&json!("t.example")));
        assert_eq!(s.get("cni.cniBinDir"), Some(&json!("/home/kubernetes/bin")));
        assert!(!s.is_on("ztunnel"));
        assert_eq!(s.env("controller")["X"], "1");
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_known_ones() {
        let error = defaults()
            .set("values.gateways.istio-ingressgateway.enabled=true")
            .unwrap_err();
        let text = format!("{error:#}");
        assert!(
            text.contains("cannot be set") && text.contains("cni.cgroupPath"),
            "{text}"
        );
        assert!(defaults().set("controller.replicas=many").is_err());
        assert!(defaults().set("hub").is_err());
        assert!(defaults().set("hub.part=x").is_err());
    }

    #[test]
    fn dots_of_a_name_can_be_escaped_and_text_stays_text() {
        let mut s = defaults();
        s.set("cni.nodeSelector.kubernetes\\.io/arch=amd64")
            .unwrap();
        s.set("cni.nodeSelector.mesh=true").unwrap();
        s.set("tag=1.30").unwrap();
        assert_eq!(
            s.get("cni.nodeSelector"),
            Some(
                &json!({"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64", "mesh": "true"})
            )
        );
        assert_eq!(s.get("tag"), Some(&json!("1.30")));
        s.set("cni.tolerations=[]").unwrap();
        assert_eq!(s.get("cni.tolerations"), Some(&json!([])));
        assert!(s.set("cni.tolerations={}").is_err());
    }

    #[test]
    fn files_are_trees_of_our_keys_or_an_istio_operator() {
        let mut s = defaults();
        s.merge(
            &json!({"hub": "a", "cni": {"cgroupPath": "/c", "resources": {"limits": {"cpu": 1}}}}),
        )
        .unwrap();
        assert_eq!(s.get("cni.cgroupPath"), Some(&json!("/c")));
        assert_eq!(s.get("cni.resources"), Some(&json!({"limits": {"cpu": 1}})));
        s.merge(&json!({
            "apiVersion": "install.istio.io/v1alpha1",
            "kind": "IstioOperator",
            "spec": {
                "hub": "b",
                "components": {"cni": {"enabled": false}},
                "values": {"cni": {"excludeNamespaces": ["a", "b"]}},
            },
        }))
        .unwrap();
        assert_eq!(s.get("hub"), Some(&json!("b")));
        assert_eq!(s.get("cni.excludeNamespaces"), Some(&json!("a,b")));
        assert!(!s.is_on("cni"));
        assert!(s.merge(&json!({"nothing": 1})).is_err());
        assert!(s.merge(&json!([1])).is_err());
    }
}
