//! xDS resources: encoded once, named, and addressed to an audience.

use bytes::Bytes;
use prost::Message;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Who may see a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Audience {
    /// Node proxies and gateways.
    Everyone,
    /// Node proxies.
    Nodes,
    /// Gateways that run with one of these service accounts, `<namespace>/<name>`.
    Gateways(Arc<[String]>),
}

/// One resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// The encoded message.
    pub body: Bytes,
    /// Other names it is found by: `<network>/<ip>`.
    pub aliases: Vec<String>,
    /// Who may see it.
    pub audience: Audience,
}

impl Resource {
    /// Encodes a message.
    pub(crate) fn new(message: &impl Message, aliases: Vec<String>, audience: Audience) -> Self {
        Self {
            body: message.encode_to_vec().into(),
            aliases,
            audience,
        }
    }
}

/// A resource that is new, differs or is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceChange {
    /// xDS type.
    pub type_url: &'static str,
    /// Resource name.
    pub name: String,
    /// `None`: gone.
    pub resource: Option<Resource>,
}

/// All resources of one derivation.
#[derive(Debug, Default)]
pub(crate) struct Resources(BTreeMap<(&'static str, String), Resource>);

impl Resources {
    /// Adds one. The first of a name stays: callers put the stronger claim first.
    pub(crate) fn put(&mut self, type_url: &'static str, name: String, resource: Resource) {
        self.0.entry((type_url, name)).or_insert(resource);
    }

    /// What differs from `former`, by type and name.
    pub(crate) fn changes_since(&self, former: &Self) -> Vec<ResourceChange> {
        let change = |(type_url, name): &(&'static str, String), resource| ResourceChange {
            type_url,
            name: name.clone(),
            resource,
        };
        let gone = former
            .0
            .keys()
            .filter(|key| !self.0.contains_key(key))
            .map(|key| change(key, None));
        let set = self
            .0
            .iter()
            .filter(|(key, resource)| former.0.get(key) != Some(resource))
            .map(|(key, resource)| change(key, Some(resource.clone())));
        gone.chain(set).collect()
    }
}
