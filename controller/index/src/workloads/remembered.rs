//! What each pod led to last time, so that a batch derives anew only the pods that it can concern.
//! In: every change, before it is applied; what the pods that are due lead to now. Out: what differs from
//! last time, and which pods are behind a service. Pure.
//! A pod is derived from itself, and from what the pods of its namespace have in common: the namespace,
//! its services and policies, the mesh's policies, gateways and nodes. Whatever is not known to stay out
//! of that is taken to concern all pods.
//! Must hold: with this memory or without, a derivation gives the same.

use crate::resource::{Resource, ResourceChange};
use crate::selector::label;
use crate::world::{Name, World};
use ambit_api::{labels, type_urls};
use ambit_crds::{Kind, Object, ObjectKey};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Service key → (service port, target port).
pub(super) type Backed = Arc<BTreeMap<String, Vec<(u16, u16)>>>;

/// What one pod led to.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(super) uid: Arc<str>,
    pub(super) resource: Resource,
    pub(super) services: Backed,
}

/// Namespace and name.
type Owned = (Arc<str>, Arc<str>);

/// What all pods led to.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    /// Pods that led to something.
    pods: BTreeMap<Arc<str>, BTreeMap<Arc<str>, Known>>,
    /// Pods behind each service that has any.
    behind: HashMap<String, Behind>,
    due: Due,
    /// Resources that the latest derivation changed.
    changed: BTreeMap<Arc<str>, Option<Resource>>,
    /// Stamps given out.
    stamps: u64,
}

/// Pods behind one service.
#[derive(Debug, Default)]
struct Behind {
    /// Another one after each change of any of the pods.
    stamp: u64,
    pods: BTreeMap<Owned, Backing>,
}

/// A pod behind a service.
#[derive(Clone, Debug)]
pub(crate) struct Backing {
    pub(crate) uid: Arc<str>,
    pub(crate) services: Backed,
}

/// Pods that must be derived anew. Nothing is known at first, so all are.
#[derive(Debug, Default)]
enum Due {
    #[default]
    All,
    Some {
        namespaces: BTreeSet<Arc<str>>,
        pods: BTreeSet<Owned>,
    },
}

/// Which pods a change concerns.
#[derive(Debug, PartialEq, Eq)]
enum Concern<'k> {
    None,
    One(&'k str, &'k str),
    Namespace(&'k str),
    All,
}

impl Due {
    fn nothing() -> Self {
        Self::Some {
            namespaces: BTreeSet::new(),
            pods: BTreeSet::new(),
        }
    }

    fn add(&mut self, concern: &Concern<'_>) {
        match (self, concern) {
            (Self::All, _) | (_, Concern::None) => {}
            (due, Concern::All) => *due = Self::All,
            (Self::Some { namespaces, .. }, Concern::Namespace(namespace)) => {
                namespaces.insert((*namespace).into());
            }
            (Self::Some { pods, .. }, Concern::One(namespace, name)) => {
                pods.insert(((*namespace).into(), (*name).into()));
            }
        }
    }
}

impl Remembered {
    /// Notes what a change concerns. `gateways`: whether the namespace of the object has gateways.
    pub(crate) fn changes(
        &mut self,
        key: &ObjectKey,
        objects: (Option<&Object>, Option<&Object>),
        place: (&str, bool),
    ) {
        self.due.add(&concern(key, objects, place));
    }

    /// All pods are to be derived.
    pub(crate) fn forget(&mut self) {
        self.due = Due::All;
    }

    /// Begins a derivation: the pods to derive, those that are gone among them.
    pub(super) fn take_due(&mut self, world: &World<'_>) -> BTreeSet<Owned> {
        self.changed.clear();
        let (namespaces, mut due) = match std::mem::replace(&mut self.due, Due::nothing()) {
            Due::Some { namespaces, pods } => (namespaces, pods),
            Due::All => {
                let there = world.pods().map(|((namespace, _), _)| namespace.into());
                let known = self.pods.keys().cloned();
                (there.chain(known).collect(), BTreeSet::new())
            }
        };
        for namespace in namespaces {
            let there = world.pods_of(&namespace).map(|(name, _)| name.into());
            let known = self.pods.get(&namespace).into_iter();
            let known = known.flat_map(|pods| pods.keys().cloned());
            due.extend(there.chain(known).map(|name| (namespace.clone(), name)));
        }
        due
    }

    /// Takes over what a pod leads to now.
    pub(super) fn set(&mut self, pod: Owned, now: Option<Known>) {
        let pods = self.pods.entry(pod.0.clone()).or_default();
        let before = match now.clone() {
            Some(now) => pods.insert(pod.1.clone(), now),
            None => pods.remove(&pod.1),
        };
        if pods.is_empty() {
            self.pods.remove(&pod.0);
        }
        self.stamps += 1;
        for service in before.iter().flat_map(|known| known.services.keys()) {
            let stays = now
                .as_ref()
                .is_some_and(|n| n.services.contains_key(service));
            if !stays {
                self.leave(service, &pod);
            }
        }
        for service in now.iter().flat_map(|known| known.services.keys()) {
            if let Some(known) = &now {
                self.join(service, &pod, known);
            }
        }
        match (before, now) {
            (Some(before), None) => drop(self.changed.insert(before.uid, None)),
            (Some(before), Some(now)) if now.resource.is(&before.resource) => {}
            (_, Some(now)) => drop(self.changed.insert(now.uid, Some(now.resource))),
            (None, None) => {}
        }
    }

    fn join(&mut self, service: &str, pod: &Owned, known: &Known) {
        // Not by `entry`, which would make a name for every look.
        if !self.behind.contains_key(service) {
            self.behind.insert(service.to_owned(), Behind::default());
        }
        if let Some(behind) = self.behind.get_mut(service) {
            behind.stamp = self.stamps;
            let backing = Backing {
                uid: known.uid.clone(),
                services: known.services.clone(),
            };
            behind.pods.insert(pod.clone(), backing);
        }
    }

    fn leave(&mut self, service: &str, pod: &Owned) {
        let Some(behind) = self.behind.get_mut(service) else {
            return;
        };
        behind.stamp = self.stamps;
        behind.pods.remove(pod);
        if behind.pods.is_empty() {
            self.behind.remove(service);
        }
    }

    /// Changes with any change of a pod behind a service; 0 without any.
    pub(crate) fn stamp(&self, service: &str) -> u64 {
        self.behind.get(service).map_or(0, |behind| behind.stamp)
    }

    /// The pods behind a service, by namespace and name.
    pub(crate) fn behind(&self, service: &str) -> impl Iterator<Item = (Name<'_>, &Backing)> {
        let pods = self.behind.get(service).into_iter();
        let pods = pods.flat_map(|behind| &behind.pods);
        pods.map(|((namespace, name), backing)| ((&**namespace, &**name), backing))
    }

    /// What the latest derivation changed.
    pub(crate) fn changed(&self) -> impl Iterator<Item = ResourceChange> {
        self.changed.iter().map(|(name, resource)| ResourceChange {
            type_url: type_urls::ADDRESS,
            name: name.clone(),
            resource: resource.clone(),
        })
    }

    /// Everything that pods led to, by name.
    #[cfg(test)]
    pub(crate) fn resources(&self) -> impl Iterator<Item = (&Arc<str>, &Resource)> {
        let all = self.pods.values().flat_map(BTreeMap::values);
        all.map(|known| (&known.uid, &known.resource))
    }
}

fn concern<'k>(
    key: &'k ObjectKey,
    (before, after): (Option<&Object>, Option<&Object>),
    (root, gateways): (&str, bool),
) -> Concern<'k> {
    let namespace: &str = &key.namespace;
    match key.kind {
        // The readiness of a gateway decides where everybody's traffic goes.
        Kind::Pod if is_of_gateway(before) || is_of_gateway(after) => Concern::All,
        Kind::Pod => Concern::One(namespace, &key.name),
        // Its coming and going decides what a gateway's address is.
        Kind::Service if gateways && (before.is_none() || after.is_none()) => Concern::All,
        Kind::Service => Concern::Namespace(namespace),
        Kind::Namespace => Concern::Namespace(&key.name),
        Kind::AuthorizationPolicy | Kind::PeerAuthentication if namespace != root => {
            Concern::Namespace(namespace)
        }
        Kind::EndpointSlice
        | Kind::ServiceAccount
        | Kind::HttpRoute
        | Kind::GrpcRoute
        | Kind::VirtualService
        | Kind::DestinationRule
        | Kind::RequestAuthentication
        | Kind::Telemetry => Concern::None,
        _ => Concern::All,
    }
}

/// Whether an object is a pod of a gateway.
pub(crate) fn is_of_gateway(object: Option<&Object>) -> bool {
    match object {
        Some(Object::Pod(pod)) => {
            label(pod.metadata.labels.as_ref(), labels::GATEWAY_NAME).is_some()
        }
        _ => false,
    }
}
