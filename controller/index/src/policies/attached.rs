//! AuthorizationPolicies with `targetRefs` → what waypoints enforce.
//! In: policies, gateways, services with the waypoint they are bound to. Out: policies per gateway (one
//! resource each) and per service (for its routers), and the condition `WaypointAccepted`.
//! Source: Istio policy attachment; `targetRefs` of Service, Gateway and GatewayClass.

use super::requests;
use crate::gateways::{self, GatewayFact};
use crate::out::Out;
use crate::resource::Resource;
use crate::selector;
use crate::services::{Origin, ServiceFact};
use crate::statuses::Condition;
use crate::world::{Name, World, name_of};
use ambit_api::{route as pb, type_urls};
use ambit_crds::istio::{Action, AuthorizationPolicySpec, TargetRef};
use ambit_crds::{Kind, ObjectKey, Resource as Object};
use std::collections::{BTreeMap, BTreeSet};

/// What waypoints enforce, by what it is attached to.
#[derive(Debug, Default)]
pub(crate) struct Attached {
    /// Gateway `<namespace>/<name>` → its own and its class's.
    gateways: BTreeMap<String, Vec<pb::AccessPolicy>>,
    /// Service `<namespace>/<hostname>` → its own.
    services: BTreeMap<String, Vec<pb::AccessPolicy>>,
}

impl Attached {
    /// Policies of one service.
    pub(crate) fn of_service(&self, key: &str) -> Vec<pb::AccessPolicy> {
        self.services.get(key).cloned().unwrap_or_default()
    }
}

/// Derives every policy that names targets, and puts out what each gateway of ours demands.
pub(crate) fn derive<'a>(
    world: &World<'a>,
    gateways: &BTreeMap<Name<'a>, GatewayFact<'a>>,
    services: &[ServiceFact<'a>],
    out: &mut Out,
) -> Attached {
    let places = Places {
        root: &world.config.root_namespace,
        gateways,
        services: by_object(services),
    };
    let mut attached = Attached::default();
    for policy in &world.authorization_policies {
        if has_targets(&policy.spec) {
            attached.add(policy, &places, out);
        }
    }
    for gateway in gateways.values().filter(|g| g.is_ours()) {
        let policies = attached.gateways.remove(&gateway.key).unwrap_or_default();
        let message = pb::Gateway {
            name: gateway.key.clone(),
            policies,
            ports: gateway
                .plaintext_ports()
                .into_iter()
                .map(Into::into)
                .collect(),
            withholds_client: !gateway.tells_client,
        };
        let resource = Resource::new(&message, Vec::new(), gateway.audience());
        out.resources
            .put(type_urls::GATEWAY, gateway.key.clone(), resource);
    }
    attached
}

/// Whether it is for waypoints.
pub(super) fn has_targets(spec: &AuthorizationPolicySpec) -> bool {
    spec.target_ref.is_some() || !spec.target_refs.is_empty()
}

/// Each target and its path.
fn targets(spec: &AuthorizationPolicySpec) -> impl Iterator<Item = (String, &TargetRef)> {
    let old = spec.target_ref.iter();
    let old = old.map(|target| ("spec.targetRef".to_owned(), target));
    let listed = spec.target_refs.iter().enumerate();
    old.chain(listed.map(|(i, target)| (format!("spec.targetRefs[{i}]"), target)))
}

impl Attached {
    fn add(
        &mut self,
        policy: &Object<AuthorizationPolicySpec>,
        places: &Places<'_, '_>,
        out: &mut Out,
    ) {
        let (namespace, name) = name_of(&policy.metadata);
        let spec = &policy.spec;
        let key = ObjectKey::new(Kind::AuthorizationPolicy, namespace, name);
        let action = match spec.action {
            Action::Allow => pb::access_policy::Action::Allow,
            Action::Deny => pb::access_policy::Action::Deny,
            other => {
                let message = format!("spec.action: {other:?} is not enforced by waypoints yet");
                let condition = Condition::new(super::WAYPOINT, false, "Invalid", message);
                return out.statuses.condition(key, condition);
            }
        };
        let compiled = requests::compile(spec, namespace);
        let annotations = policy.metadata.annotations.as_ref();
        let dry_run = selector::label(annotations, super::DRY_RUN) == Some("true");
        let message = pb::AccessPolicy {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            action: action.into(),
            rules: compiled.rules,
            dry_run,
        };
        let mut said = Said {
            remarks: compiled.remarks,
            dry_run,
            ..Said::default()
        };
        for (path, target) in targets(spec) {
            match places.find(namespace, target) {
                Ok(place) => self.put(place, &message, &mut said),
                Err((reason, why)) => said.unbound.push((reason, format!("{path}: {why}"))),
            }
        }
        if !said.remarks.is_empty() {
            let remarks = said.remarks.join("; ");
            tracing::warn!(policy = %key, %remarks, "policy is not enforced as written");
        }
        out.statuses.condition(key, said.condition());
    }

    fn put(&mut self, place: Place, message: &pb::AccessPolicy, said: &mut Said) {
        let (map, keys) = match place {
            Place::Gateways(keys) => {
                said.gateways.extend(keys.iter().cloned());
                (&mut self.gateways, keys)
            }
            Place::Services { keys, gateway } => {
                said.gateways.insert(gateway);
                (&mut self.services, keys)
            }
        };
        for key in keys {
            let policies = map.entry(key).or_default();
            // A target may be named twice.
            if policies.last() != Some(message) {
                policies.push(message.clone());
            }
        }
    }
}

/// Where a policy goes.
enum Place {
    Gateways(Vec<String>),
    Services { keys: Vec<String>, gateway: String },
}

/// What targets may name.
struct Places<'p, 'a> {
    root: &'p str,
    gateways: &'p BTreeMap<Name<'a>, GatewayFact<'a>>,
    services: Services<'p, 'a>,
}

/// The services of each Service or ServiceEntry, by kind and name.
type Services<'p, 'a> = BTreeMap<(&'static str, Name<'a>), Vec<&'p ServiceFact<'a>>>;

fn by_object<'p, 'a>(services: &'p [ServiceFact<'a>]) -> Services<'p, 'a> {
    let mut by_object = Services::new();
    for service in services {
        let kind = match service.origin {
            Origin::Service(_) => SERVICE,
            Origin::Entry(_) => ENTRY,
        };
        let key = (kind, (service.namespace, service.name));
        by_object.entry(key).or_default().push(service);
    }
    by_object
}

const SERVICE: &str = "Service";
const ENTRY: &str = "ServiceEntry";

/// Reason and message for a target that leads nowhere.
type Unbound = (&'static str, String);

const NOT_FOUND: &str = "TargetNotFound";
const NOT_BOUND: &str = "AncestorNotBound";
const INVALID: &str = "Invalid";

impl Places<'_, '_> {
    fn find(&self, namespace: &str, target: &TargetRef) -> Result<Place, Unbound> {
        if !target.namespace.is_empty() && target.namespace != namespace {
            let why = "namespace: must be the policy's own".to_owned();
            return Err((INVALID, why));
        }
        let name = target.name.as_str();
        match (target.group.as_str(), target.kind.as_str()) {
            ("" | "core", SERVICE) => self.service(SERVICE, (namespace, name)),
            ("gateway.networking.k8s.io", "Gateway") => self.gateway(namespace, name),
            ("gateway.networking.k8s.io", "GatewayClass") => self.class(namespace, name),
            ("networking.istio.io", ENTRY) => self.service(ENTRY, (namespace, name)),
            (group, kind) => Err((INVALID, format!("kind: {kind} of group `{group}`"))),
        }
    }

    fn service(
        &self,
        kind: &'static str,
        (namespace, name): (&str, &str),
    ) -> Result<Place, Unbound> {
        let what = format!("{kind} {namespace}/{name}");
        let found = self.services.get(&(kind, (namespace, name)));
        let Some((service, services)) = found.and_then(|all| Some((all.first()?, all))) else {
            return Err((NOT_FOUND, format!("{what} does not exist")));
        };
        let Some(gateway) = &service.waypoint else {
            return Err((NOT_BOUND, format!("{what} is not bound to a waypoint")));
        };
        if !service.has_address() {
            let why = format!("{what} has no address, so no waypoint serves it");
            return Err((NOT_BOUND, why));
        }
        if !self.runs(gateway) {
            let why = format!("{what} is bound to {gateway}, which is not a waypoint of ours");
            return Err((NOT_BOUND, why));
        }
        Ok(Place::Services {
            keys: services.iter().map(|s| s.key.clone()).collect(),
            gateway: gateway.clone(),
        })
    }

    fn runs(&self, gateway: &str) -> bool {
        gateway
            .split_once('/')
            .and_then(|name| self.gateways.get(&name))
            .is_some_and(GatewayFact::is_waypoint)
    }

    fn gateway(&self, namespace: &str, name: &str) -> Result<Place, Unbound> {
        match self.gateways.get(&(namespace, name)) {
            None => {
                let why = format!("Gateway {namespace}/{name} does not exist");
                Err((NOT_FOUND, why))
            }
            Some(gateway) if !gateway.is_ours() => {
                let why = format!("Gateway {namespace}/{name} is not a gateway of ours");
                Err((NOT_BOUND, why))
            }
            Some(gateway) => Ok(Place::Gateways(vec![gateway.key.clone()])),
        }
    }

    /// Every waypoint of a class: the default of the mesh.
    fn class(&self, namespace: &str, name: &str) -> Result<Place, Unbound> {
        if namespace != self.root {
            let why = format!(
                "a policy for a GatewayClass belongs in namespace {}",
                self.root
            );
            return Err((INVALID, why));
        }
        if gateways::role_of(name).is_none() {
            let why = format!("GatewayClass {name} is not a class of ours");
            return Err((NOT_FOUND, why));
        }
        let of_class = |g: &&GatewayFact<'_>| g.object.spec.gateway_class_name == name;
        let found = self.gateways.values().filter(of_class);
        Ok(Place::Gateways(found.map(|g| g.key.clone()).collect()))
    }
}

/// What the status says.
#[derive(Default)]
struct Said {
    gateways: BTreeSet<String>,
    unbound: Vec<Unbound>,
    remarks: Vec<String>,
    dry_run: bool,
}

impl Said {
    fn condition(self) -> Condition {
        let mut parts = Vec::new();
        if !self.gateways.is_empty() {
            let names: Vec<_> = self.gateways.into_iter().collect();
            parts.push(format!("attached to {}", names.join(", ")));
        } else if self.unbound.is_empty() {
            parts.push("attached to every waypoint of the class; there is none".to_owned());
        }
        let bound = !parts.is_empty();
        if self.dry_run {
            parts.push("evaluated and logged, not enforced (istio.io/dry-run)".to_owned());
        }
        let fine = self.unbound.is_empty() && self.remarks.is_empty();
        let reason = match self.unbound.first() {
            _ if fine => "Accepted",
            Some((reason, _)) if !bound => reason,
            _ => "PartiallyInvalid",
        };
        parts.extend(self.unbound.into_iter().map(|(_, why)| why));
        parts.extend(self.remarks);
        Condition::new(super::WAYPOINT, fine, reason, parts.join("; "))
    }
}
