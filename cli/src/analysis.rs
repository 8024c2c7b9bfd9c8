//! What is wrong with a mesh's objects taken together, in the codes of `istioctl analyze`. Pure.
//! In: every object, as the controller reads them. Out: findings, each with object, field and what to do.
//! Only what is true of this mesh is said: a code whose cause cannot be here is not used, and one whose
//! meaning differs says what happens here. What is wrong with one object alone is `ambit_crds::validate`'s.
//! Spec: istio/istio pkg/config/analysis/msg/messages.yaml.

mod conditions;
mod gateways;
mod messages;
mod namespaces;
mod policies;
mod references;
mod routes;
mod services;
mod suppress;
mod world;

pub(crate) use messages::{MESSAGES, Message};
pub(crate) use suppress::Suppression;
pub(crate) use world::World;

use ambit_crds::ObjectKey;
use serde::Serialize;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, clap::ValueEnum)]
pub(crate) enum Level {
    /// Good to know
    #[value(alias = "Info", alias = "INFO")]
    Info,
    /// It does not do what it seems to
    #[value(alias = "Warning", alias = "WARNING", alias = "warn")]
    Warning,
    /// It does not work
    #[value(alias = "Error", alias = "ERROR")]
    Error,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) level: Level,
    /// `IST0101`, `AMB0001`, …
    pub(crate) code: &'static str,
    /// `Kind namespace/name`
    pub(crate) origin: String,
    /// Path of the field; empty for the whole object
    pub(crate) field: String,
    /// What is wrong
    pub(crate) message: String,
    /// What to do; empty where the message says it
    pub(crate) fix: String,
    /// Namespace of the object; its own name if it is one
    pub(crate) namespace: String,
    /// Where it is written; empty in a cluster
    pub(crate) file: String,
    /// Line the document starts at, from 1; 0 where that is not known
    pub(crate) line: usize,
}

impl Finding {
    /// One about an object, without a field or what to do.
    fn new(message: &'static Message, about: &ObjectKey, text: impl Into<String>) -> Self {
        let namespace = match &*about.namespace {
            "" => about.name.to_string(),
            namespace => namespace.to_owned(),
        };
        Self {
            level: message.level,
            code: message.code,
            origin: about.to_string(),
            field: String::new(),
            message: text.into(),
            fix: String::new(),
            namespace,
            file: String::new(),
            line: 0,
        }
    }

    fn field(mut self, path: impl Into<String>) -> Self {
        self.field = path.into();
        self
    }

    fn fix(mut self, text: impl Into<String>) -> Self {
        self.fix = text.into();
        self
    }
}

/// Everything that is to be said, by object.
pub(crate) fn analyze(world: &World) -> Vec<Finding> {
    let mut found = Vec::new();
    namespaces::check(world, &mut found);
    services::check(world, &mut found);
    references::check(world, &mut found);
    routes::check(world, &mut found);
    policies::check(world, &mut found);
    gateways::check(world, &mut found);
    conditions::check(world, &mut found);
    found
}

#[cfg(test)]
mod tests;
