//! What each pod led to last time, so that a batch derives anew only the pods that it can concern.
//! In: every change, before it is applied. Out: what is still true. Pure.
//! A pod is derived from itself, and from what the pods of its namespace have in common: the namespace,
//! its services and policies, the mesh's policies, gateways and nodes. Whatever is not known to stay out
//! of that is taken to concern all pods.
//! Must hold: with this memory or without, a derivation gives the same.

use crate::resource::Resource;
use crate::selector::label;
use ambit_api::labels;
use ambit_crds::{Kind, Object, ObjectKey};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// What one pod led to.
#[derive(Debug)]
pub(crate) struct Known {
    pub(super) uid: Arc<str>,
    pub(super) resource: Resource,
    /// Service key → (service port, target port).
    pub(super) services: Arc<BTreeMap<String, Vec<(u16, u16)>>>,
}

/// By namespace and name; `None` where a pod led to nothing.
type ByName = HashMap<Arc<str>, Option<Known>>;

/// What all pods led to.
#[derive(Debug, Default)]
pub(crate) struct Remembered(HashMap<Arc<str>, ByName>);

/// Which pods a change concerns.
#[derive(Debug, PartialEq, Eq)]
enum Concern<'k> {
    None,
    One(&'k str, &'k str),
    Namespace(&'k str),
    All,
}

impl Remembered {
    /// Forgets what a change concerns. `gateways`: whether the namespace of the object has gateways.
    pub(crate) fn changes(
        &mut self,
        key: &ObjectKey,
        (before, after): (Option<&Object>, Option<&Object>),
        (root, gateways): (&str, bool),
    ) {
        match concern(key, (before, after), (root, gateways)) {
            Concern::None => {}
            Concern::One(namespace, name) => {
                if let Some(pods) = self.0.get_mut(namespace) {
                    pods.remove(name);
                }
            }
            Concern::Namespace(namespace) => drop(self.0.remove(namespace)),
            Concern::All => self.0.clear(),
        }
    }

    /// The pods of a namespace.
    pub(super) fn namespace(&mut self, namespace: &str) -> &mut ByName {
        // Not by `entry`, which would make a name for every look.
        if !self.0.contains_key(namespace) {
            self.0.insert(namespace.into(), ByName::new());
        }
        self.0
            .get_mut(namespace)
            .expect("it is there or was just put there")
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
        | Kind::VirtualService
        | Kind::DestinationRule => Concern::None,
        _ => Concern::All,
    }
}

fn is_of_gateway(object: Option<&Object>) -> bool {
    match object {
        Some(Object::Pod(pod)) => {
            label(pod.metadata.labels.as_ref(), labels::GATEWAY_NAME).is_some()
        }
        _ => false,
    }
}
