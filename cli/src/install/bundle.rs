//! The bundle: objects with marks in place of settings, what can be set, profiles. Pure.

use std::collections::BTreeMap;

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Map, Value};

/// Everything this command can install.
#[derive(Debug, Deserialize)]
pub(crate) struct Bundle {
    /// What can be set
    pub(crate) settings: Vec<Setting>,
    /// By name
    pub(crate) profiles: BTreeMap<String, Profile>,
    /// Objects by component, in the order they are installed in
    components: Map<String, Value>,
    /// The same of another revision than the default one, where they differ
    revised: Map<String, Value>,
}

/// One thing that can be set.
#[derive(Debug, Deserialize)]
pub(crate) struct Setting {
    /// As `--set` names it
    pub(crate) key: String,
    /// For people
    pub(crate) about: String,
    /// Also says its type
    pub(crate) default: Value,
}

/// One profile.
#[derive(Debug, Deserialize)]
pub(crate) struct Profile {
    /// For people
    pub(crate) about: String,
    /// Components
    pub(crate) components: Vec<String>,
    /// Settings that differ from their defaults
    #[serde(default)]
    pub(crate) values: Map<String, Value>,
}

impl Bundle {
    /// What this command carries.
    pub(crate) fn embedded() -> Self {
        let text = include_str!("../../../deploy/manifests/bundle.json");
        serde_json::from_str(text).expect("the bundle is generated and tested")
    }

    /// A profile.
    ///
    /// # Errors
    /// If there is none of that name.
    pub(crate) fn profile(&self, name: &str) -> Result<&Profile> {
        let known = || self.profiles.keys().cloned().collect::<Vec<_>>().join(", ");
        self.profiles
            .get(name)
            .with_context(|| format!("there is no profile `{name}`, only {}", known()))
    }

    /// Names of all components.
    pub(crate) fn components(&self) -> impl Iterator<Item = &str> {
        self.components.keys().map(String::as_str)
    }

    /// Every object, with its marks.
    pub(crate) fn all_objects(&self) -> impl Iterator<Item = &Value> {
        self.components
            .values()
            .filter_map(Value::as_array)
            .flatten()
    }

    /// Components with their objects, in the order they are installed in; `revised`: those of another
    /// revision than the default one.
    pub(super) fn parts(&self, revised: bool) -> impl Iterator<Item = (&str, &[Value])> {
        self.components.iter().map(move |(name, objects)| {
            let other = self.revised.get(name).filter(|_| revised);
            let objects = other.unwrap_or(objects);
            (
                name.as_str(),
                objects.as_array().map_or(&[][..], Vec::as_slice),
            )
        })
    }
}
