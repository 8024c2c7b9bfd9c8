//! Gateways that may be waypoints: any class with an address, and those of our own classes.
//! In: Gateway objects, their pods and services. Out: where each is reached and whom it serves.
//! Source: `gateway.networking.k8s.io/v1 Gateway`; Istio's waypoint conversion.

use crate::octets::octets;
use crate::pods;
use crate::selector::{Labels, label};
use crate::world::{Name, World};
use ambit_api::{labels, ports, workload as pb};
use ambit_crds::Resource;
use ambit_crds::gateway::{FromNamespaces, GatewaySpec, GatewayStatus, Listener};
use pb::gateway_address::Destination;
use std::collections::BTreeMap;

/// Classes whose gateways we run.
const CLASSES: [&str; 2] = ["istio-waypoint", "ambit-waypoint"];

/// A gateway.
pub(crate) struct GatewayFact<'a> {
    pub(crate) object: &'a Resource<GatewaySpec, GatewayStatus>,
    pub(crate) name: Name<'a>,
    /// `<namespace>/<name>`.
    pub(crate) key: String,
    /// Of a class that we run.
    pub(crate) ours: bool,
    /// A pod of it takes traffic now.
    pub(crate) ready: bool,
    /// Where it is reached; `None` until it was ready once.
    pub(crate) address: Option<pb::GatewayAddress>,
    pub(crate) serves: Serves,
}

/// Destinations a waypoint is for (`istio.io/waypoint-for`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Serves {
    pub(crate) services: bool,
    pub(crate) workloads: bool,
}

/// Whether we run it.
pub(crate) fn is_ours(spec: &GatewaySpec) -> bool {
    CLASSES.contains(&spec.gateway_class_name.as_str())
}

/// Derives every gateway.
pub(crate) fn derive<'a>(world: &World<'a>) -> BTreeMap<Name<'a>, GatewayFact<'a>> {
    world
        .gateways
        .iter()
        .map(|(name, object)| (*name, one(world, *name, object)))
        .collect()
}

fn one<'a>(
    world: &World<'a>,
    name: Name<'a>,
    object: &'a Resource<GatewaySpec, GatewayStatus>,
) -> GatewayFact<'a> {
    let ours = is_ours(&object.spec);
    let ready = ours && world.gateway_pods(name).any(pods::ready);
    GatewayFact {
        object,
        name,
        key: format!("{}/{}", name.0, name.1),
        ours,
        ready,
        address: address(world, name, object, ready),
        serves: serves(label(object.metadata.labels.as_ref(), labels::WAYPOINT_FOR)),
    }
}

fn serves(word: Option<&str>) -> Serves {
    let (services, workloads) = match word {
        None | Some("service") => (true, false),
        Some("workload") => (false, true),
        Some("all") => (true, true),
        Some(_) => (false, false),
    };
    Serves {
        services,
        workloads,
    }
}

/// Its own Service where there is one, else the first address of its status. A gateway that was
/// ready once keeps its address, so that its loss refuses traffic rather than lets it by.
fn address(
    world: &World<'_>,
    (namespace, name): Name<'_>,
    object: &Resource<GatewaySpec, GatewayStatus>,
    ready: bool,
) -> Option<pb::GatewayAddress> {
    let published = object.status.as_ref().and_then(|s| s.addresses.first());
    if published.is_none() && !ready {
        return None;
    }
    let destination = if world.services.contains_key(&(namespace, name)) {
        Destination::Hostname(pb::NamespacedHostname {
            namespace: namespace.to_owned(),
            hostname: world.config.hostname(namespace, name),
        })
    } else {
        let published = published?;
        match published.value.parse() {
            Ok(ip) => Destination::Address(pb::NetworkAddress {
                network: world.config.network.clone(),
                address: octets(ip),
                length: None,
            }),
            Err(_) => Destination::Hostname(pb::NamespacedHostname {
                // `<name>.<namespace>.svc…`; any other name is looked up beside the gateway.
                namespace: match published.value.split('.').collect::<Vec<_>>()[..] {
                    [_, namespace, "svc", ..] => namespace.to_owned(),
                    _ => namespace.to_owned(),
                },
                hostname: published.value.clone(),
            }),
        }
    };
    Some(waypoint_address(destination))
}

/// The address of a gateway that is known by name only.
pub(crate) fn named_address(world: &World<'_>, (namespace, name): Name<'_>) -> pb::GatewayAddress {
    waypoint_address(Destination::Hostname(pb::NamespacedHostname {
        namespace: namespace.to_owned(),
        hostname: world.config.hostname(namespace, name),
    }))
}

fn waypoint_address(destination: Destination) -> pb::GatewayAddress {
    pb::GatewayAddress {
        destination: Some(destination),
        hbone_mtls_port: ports::HBONE.into(),
    }
}

impl GatewayFact<'_> {
    /// Whether objects of a namespace may be bound to it (`listeners[].allowedRoutes` of its HBONE
    /// listener).
    pub(crate) fn admits(&self, namespace: &str, namespace_labels: Labels<'_>) -> bool {
        if namespace == self.name.0 {
            return true;
        }
        let is_hbone = |l: &&Listener| l.protocol == "HBONE" || l.port == ports::HBONE;
        let listener = self.object.spec.listeners.iter().find(is_hbone);
        let namespaces = listener
            .and_then(|l| l.allowed_routes.as_ref())
            .and_then(|a| a.namespaces.as_ref());
        let Some(namespaces) = namespaces else {
            return false;
        };
        match namespaces.from {
            FromNamespaces::All => true,
            FromNamespaces::Same | FromNamespaces::None => false,
            FromNamespaces::Selector => {
                let none = BTreeMap::new();
                let labels = namespace_labels.unwrap_or(&none);
                namespaces
                    .selector
                    .as_ref()
                    .is_some_and(|s| s.matches(labels))
            }
        }
    }
}
