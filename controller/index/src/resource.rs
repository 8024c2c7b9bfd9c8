//! xDS resources: encoded once, named, and addressed to an audience.

use bytes::Bytes;
use prost::Message;
use std::collections::{BTreeMap, BTreeSet};
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
    pub aliases: Arc<[String]>,
    /// Who may see it.
    pub audience: Audience,
}

impl Resource {
    /// Encodes a message.
    pub(crate) fn new(message: &impl Message, aliases: Vec<String>, audience: Audience) -> Self {
        Self {
            body: message.encode_to_vec().into(),
            aliases: aliases.into(),
            audience,
        }
    }

    /// Equality; what was shared rather than made again is not read.
    pub(crate) fn is(&self, other: &Self) -> bool {
        let shared = self.body.as_ptr() == other.body.as_ptr()
            && self.body.len() == other.body.len()
            && Arc::ptr_eq(&self.aliases, &other.aliases)
            && self.audience == other.audience;
        shared || self == other
    }
}

/// A resource that is new, differs or is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResourceChange {
    /// xDS type.
    pub type_url: &'static str,
    /// Resource name.
    pub name: Arc<str>,
    /// `None`: gone.
    pub resource: Option<Resource>,
}

/// All resources of one derivation but those of pods, whose names nothing else has.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Resources(BTreeMap<&'static str, BTreeMap<Arc<str>, Resource>>);

impl Resources {
    /// Adds one. The first of a name stays: callers put the stronger claim first.
    pub(crate) fn put(
        &mut self,
        type_url: &'static str,
        name: impl Into<Arc<str>>,
        resource: Resource,
    ) {
        let resources = self.0.entry(type_url).or_default();
        resources.entry(name.into()).or_insert(resource);
    }

    /// Adds all of another derivation.
    pub(crate) fn add(&mut self, other: &Self) {
        for (type_url, resources) in &other.0 {
            for (name, resource) in resources {
                self.put(type_url, name.clone(), resource.clone());
            }
        }
    }

    /// Every resource, by type and name.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = ((&'static str, &Arc<str>), &Resource)> {
        let of_type = |(type_url, resources): (&&'static str, _)| (*type_url, resources);
        self.0
            .iter()
            .map(of_type)
            .flat_map(|(type_url, resources)| {
                let resources: &BTreeMap<Arc<str>, Resource> = resources;
                resources.iter().map(move |(name, r)| ((type_url, name), r))
            })
    }

    /// What differs from `former`, by type and name.
    pub(crate) fn changes_since(&self, former: &Self) -> Vec<ResourceChange> {
        let none = BTreeMap::new();
        let types: BTreeSet<&'static str> = former.0.keys().chain(self.0.keys()).copied().collect();
        let mut changes = Vec::new();
        for type_url in types {
            let before = former.0.get(type_url).unwrap_or(&none);
            let now = self.0.get(type_url).unwrap_or(&none);
            let differing = differing(before, now);
            changes.extend(differing.map(|(name, resource)| ResourceChange {
                type_url,
                name: name.clone(),
                resource: resource.cloned(),
            }));
        }
        changes
    }
}

/// Names that two maps do not agree on, with what the second one has; both are gone through once.
fn differing<'m>(
    before: &'m BTreeMap<Arc<str>, Resource>,
    now: &'m BTreeMap<Arc<str>, Resource>,
) -> impl Iterator<Item = (&'m Arc<str>, Option<&'m Resource>)> {
    let (mut before, mut now) = (before.iter().peekable(), now.iter().peekable());
    std::iter::from_fn(move || {
        loop {
            match (before.peek(), now.peek()) {
                (None, None) => return None,
                (Some((gone, _)), there) if there.is_none_or(|(there, _)| gone < there) => {
                    return before.next().map(|(name, _)| (name, None));
                }
                (Some((left, _)), Some((right, _))) if left == right => {
                    let (_, old) = before.next()?;
                    let (name, new) = now.next()?;
                    if !new.is(old) {
                        return Some((name, Some(new)));
                    }
                }
                _ => return now.next().map(|(name, new)| (name, Some(new))),
            }
        }
    })
}
