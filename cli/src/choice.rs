//! What is to be installed: a profile, settings and files, as `install`, `upgrade` and `manifest` take them.
//! In: the command line, files it names. Out: rendered objects. No cluster is asked.

use std::path::PathBuf;

use anyhow::{Context, Result};
use serde_json::Value;

use crate::install::{Bundle, Component, Settings, definitions, render};

/// What is to be installed.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Choice {
    /// Profile to start from: default, ambient, demo, minimal, empty
    #[arg(long, value_name = "NAME")]
    pub(crate) profile: Option<String>,
    /// Set a value, such as `hub=registry.example/ambit`; may be given several times
    #[arg(short = 's', long = "set", value_name = "KEY=VALUE")]
    pub(crate) sets: Vec<String>,
    /// File of values, or an IstioOperator; `-` is standard input; may be given several times
    #[arg(short = 'f', long = "filename", value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
}

/// A choice, made.
pub(crate) struct Chosen {
    /// Name of the profile
    pub(crate) profile: String,
    /// Settings over it
    pub(crate) settings: Settings,
    /// Definitions of kinds, if the base is installed
    pub(crate) definitions: Vec<Value>,
    /// The rest, in order
    pub(crate) components: Vec<Component>,
}

impl Chosen {
    /// Objects of every component, in order.
    pub(crate) fn objects(&self) -> impl Iterator<Item = &Value> {
        self.components.iter().flat_map(|c| &c.objects)
    }
}

/// Where a profile may be named in a file.
const PROFILE: [&str; 2] = ["/profile", "/spec/profile"];

impl Choice {
    /// The same, looked for in this namespace unless another is set.
    pub(crate) fn within(mut self, namespace: &str) -> Self {
        self.sets.insert(0, format!("namespace={namespace}"));
        self
    }

    /// Reads the files and puts everything together.
    ///
    /// # Errors
    /// A file that cannot be read, a key that cannot be set.
    pub(crate) fn resolve(&self) -> Result<Chosen> {
        let mut files = Vec::new();
        for path in &self.files {
            let text = match path.as_os_str() == "-" {
                true => std::io::read_to_string(std::io::stdin())?,
                false => {
                    std::fs::read_to_string(path).with_context(|| path.display().to_string())?
                }
            };
            let value: Value =
                serde_saphyr::from_str(&text).with_context(|| path.display().to_string())?;
            files.push((path, value));
        }
        let mut profile = "default".to_owned();
        for (_, file) in &mut files {
            for place in PROFILE {
                if let Some(name) = file.pointer_mut(place).map(Value::take)
                    && let Some(name) = name.as_str()
                {
                    name.clone_into(&mut profile);
                }
            }
        }
        let (profiles, sets): (Vec<_>, Vec<_>) = self
            .sets
            .iter()
            .partition(|set| set.starts_with("profile="));
        if let Some((_, name)) = profiles.last().and_then(|set| set.split_once('=')) {
            name.clone_into(&mut profile);
        }
        if let Some(name) = &self.profile {
            name.clone_into(&mut profile);
        }
        let bundle = Bundle::embedded();
        let mut settings = Settings::new(&bundle, bundle.profile(&profile)?);
        for (path, file) in &files {
            settings
                .merge(file)
                .with_context(|| path.display().to_string())?;
        }
        for set in sets {
            settings.set(set)?;
        }
        let components = render(&bundle, &settings)?;
        let base = components.iter().any(|c| c.name == "base");
        Ok(Chosen {
            profile,
            settings,
            definitions: if base { definitions() } else { Vec::new() },
            components,
        })
    }
}
