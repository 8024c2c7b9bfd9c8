//! The index: objects, and what was put out last.

use crate::config::MeshConfig;
use crate::derive::{Memory, derive};
use crate::plan::{Plan, Wanted};
use crate::pods;
use crate::resource::{ResourceChange, Resources};
use crate::revision::Revisions;
use crate::statuses::Condition;
use crate::world::{World, name_of, network};
use ambit_crds::{Kind, Object, ObjectKey};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Condition of an object that several documents define.
const UNIQUE: &str = "ambit.io/Unique";

/// One change of one object.
#[derive(Clone, Debug)]
pub enum Change {
    /// The object is new or differs.
    Upsert(Arc<Object>),
    /// The object is gone.
    Delete(ObjectKey),
}

/// A document of an object that is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It is wrong, in these words.
    Invalid(String),
    /// Another document defines the object, in these words.
    Duplicate(String),
}

/// What a batch of changes leads to.
#[derive(Debug, Default)]
pub struct Output {
    /// Resources that are new, differ or are gone.
    pub resources: Vec<ResourceChange>,
    /// Writes to do.
    pub plan: Plan,
}

/// A pod as certificate authorization needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodIdentity {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// `metadata.uid`; empty when absent.
    pub uid: String,
    /// `spec.serviceAccountName`, `default` when unset.
    pub service_account: String,
    /// `spec.nodeName`; empty while unscheduled.
    pub node: String,
    /// `status.phase` is Succeeded or Failed.
    pub ended: bool,
}

impl PodIdentity {
    fn of(object: &Object) -> Option<Self> {
        let Object::Pod(pod) = object else {
            return None;
        };
        let (namespace, name) = name_of(&pod.metadata);
        let spec = pod.spec.as_ref()?;
        Some(Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            uid: pod.metadata.uid.clone().unwrap_or_default(),
            service_account: pods::account(spec).to_owned(),
            node: spec.node_name.clone().unwrap_or_default(),
            ended: pods::ended(pod),
        })
    }
}

/// Objects and the output they led to.
#[derive(Debug)]
pub struct Index {
    config: MeshConfig,
    objects: BTreeMap<ObjectKey, Arc<Object>>,
    refused: BTreeMap<ObjectKey, Refusal>,
    /// All but those of pods.
    resources: Resources,
    wanted: Wanted,
    memory: Memory,
}

impl Index {
    /// Nothing yet.
    pub fn new(config: MeshConfig) -> Self {
        Self {
            config,
            objects: BTreeMap::new(),
            refused: BTreeMap::new(),
            resources: Resources::default(),
            wanted: Wanted::default(),
            memory: Memory::default(),
        }
    }

    /// Takes over a batch of changes and derives what they lead to.
    pub fn apply(&mut self, changes: Vec<Change>) -> Output {
        for change in changes {
            let (key, after) = match change {
                Change::Upsert(object) => (object.key(), Some(object)),
                Change::Delete(key) => (key, None),
            };
            let before = self.objects.get(&key).map(|object| &**object);
            let place = (self.config.root_namespace.as_str(), self.has_gateway(&key));
            let objects = (before, after.as_deref());
            self.memory.changes(&key, objects, place);
            match after {
                Some(object) => drop(self.objects.insert(key, object)),
                None => drop(self.objects.remove(&key)),
            }
        }
        self.derive()
    }

    /// Whether the namespace of an object has gateways.
    fn has_gateway(&self, key: &ObjectKey) -> bool {
        let first = ObjectKey::new(Kind::Gateway, &key.namespace, "");
        let next = self.objects.range(first..).next();
        next.is_some_and(|(found, _)| {
            found.kind == Kind::Gateway && found.namespace == key.namespace
        })
    }

    /// Sets which objects have a document that is refused, and why; a good former version of such an
    /// object stays in use. Takes effect with the next [`Index::apply`].
    pub fn set_refused(&mut self, refused: BTreeMap<ObjectKey, Refusal>) {
        self.refused = refused;
    }

    /// The objects in use.
    pub fn objects(&self) -> impl Iterator<Item = &Arc<Object>> {
        self.objects.values()
    }

    /// An object in use.
    pub fn object(&self, key: &ObjectKey) -> Option<&Object> {
        self.objects.get(key).map(|object| &**object)
    }

    /// Every pod, for certificate authorization.
    pub fn pods(&self) -> impl Iterator<Item = PodIdentity> {
        self.objects
            .values()
            .filter_map(|object| PodIdentity::of(object))
    }

    /// Whether [`Index::pods`] would be others after a change.
    pub fn changes_identities(&self, change: &Change) -> bool {
        let (before, after) = match change {
            Change::Upsert(object) => (self.object(&object.key()), Some(&**object)),
            Change::Delete(key) => (self.object(key), None),
        };
        before.and_then(PodIdentity::of) != after.and_then(PodIdentity::of)
    }

    /// Whether objects that name no revision are ours to write about.
    pub fn holds_default(&self) -> bool {
        Revisions::of(&self.config, &self.objects).holds_default()
    }

    /// Network of everything that does not say another.
    pub fn network(&self) -> &str {
        network(&self.config, &self.objects)
    }

    /// Service accounts `<namespace>/<name>` that gateways of ours run with, or are to run with.
    pub fn gateway_accounts(&self) -> &BTreeSet<String> {
        &self.memory.gateway_accounts
    }

    fn derive(&mut self) -> Output {
        let world = World::new(&self.config, &self.objects);
        let mut out = derive(&world, &mut self.memory);
        for (key, refusal) in &self.refused {
            let condition = match refusal {
                Refusal::Invalid(message) => Condition::rejected("Invalid", message),
                Refusal::Duplicate(message) => Condition::new(UNIQUE, false, "Duplicate", message),
            };
            out.statuses.condition(key.clone(), condition);
        }
        let mut wanted = out.wanted;
        out.statuses.into_wanted(&mut wanted);
        leave_to_others(&world, &self.objects, &self.wanted, &mut wanted);
        let mut resources = out.resources.changes_since(&self.resources);
        resources.extend(self.memory.pods.changed());
        resources.sort_unstable_by(|a, b| (a.type_url, &a.name).cmp(&(b.type_url, &b.name)));
        let output = Output {
            resources,
            plan: wanted.plan_since(&self.wanted),
        };
        self.resources = out.resources;
        self.wanted = wanted;
        output
    }
}

/// Takes back what is not ours to write.
fn leave_to_others(
    world: &World<'_>,
    objects: &BTreeMap<ObjectKey, Arc<Object>>,
    former: &Wanted,
    wanted: &mut Wanted,
) {
    let is_there = |key: &ObjectKey| objects.contains_key(key);
    wanted.leave((former, is_there), |key| {
        let object = objects.get(key).map(|object| &**object);
        !writes_about(world, object)
    });
}

/// Whether the status of an object is ours to write.
fn writes_about(world: &World<'_>, object: Option<&Object>) -> bool {
    match object {
        Some(Object::Gateway(gateway)) => world.runs(&gateway.metadata),
        object => world.revisions.writes_about(object),
    }
}

#[cfg(test)]
mod tests;
