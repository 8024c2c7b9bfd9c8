//! Gateways that may be waypoints: any class with an address, and those of our own classes, waypoints
//! and ingress gateways.
//! In: Gateway objects, their pods and services. Out: where each is reached, whom it serves, and what
//! its listeners take from outside the mesh.
//! Source: `gateway.networking.k8s.io/v1 Gateway`; Istio's waypoint conversion.

pub(crate) mod classic;
pub(crate) mod listeners;

use crate::octets::octets;
use crate::pods;
use crate::selector::{Labels, label};
use crate::world::{Name, World};
use ambit_api::{labels, ports, workload as pb};
use ambit_crds::Resource;
use ambit_crds::gateway::{FromNamespaces, GatewaySpec, GatewayStatus, Listener};
use classic::ServerFact;
use listeners::ListenerFact;
use pb::gateway_address::Destination;
use std::collections::{BTreeMap, BTreeSet};

/// What a gateway of ours is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Between clients and services of the mesh.
    Waypoint,
    /// Between the outside and the mesh.
    Ingress,
}

const CLASSES: [(&str, Role); 4] = [
    ("istio", Role::Ingress),
    ("ambit", Role::Ingress),
    ("istio-waypoint", Role::Waypoint),
    ("ambit-waypoint", Role::Waypoint),
];

/// Classes whose gateways we run: `metadata.name` of their GatewayClasses.
pub fn classes() -> impl Iterator<Item = &'static str> {
    CLASSES.iter().map(|(class, _)| *class)
}

/// The role of a class whose gateways we run.
pub(crate) fn role_of(class: &str) -> Option<Role> {
    let of_ours = CLASSES.iter().find(|(of_ours, _)| *of_ours == class);
    of_ours.map(|(_, role)| *role)
}

/// Name of what runs a gateway: ServiceAccount, Service, Deployment.
pub(crate) fn generated_name(name: &str, class: &str) -> String {
    match role_of(class) {
        Some(Role::Ingress) => format!("{name}-{class}"),
        _ => name.to_owned(),
    }
}

/// A gateway.
pub(crate) struct GatewayFact<'a> {
    pub(crate) object: &'a Resource<GatewaySpec, GatewayStatus>,
    pub(crate) name: Name<'a>,
    /// `<namespace>/<name>`.
    pub(crate) key: String,
    /// What it is for, if it is of a class that we run.
    pub(crate) role: Option<Role>,
    /// Name of what runs it.
    pub(crate) generated: String,
    /// Service account `<namespace>/<name>` that it runs with.
    pub(crate) account: String,
    /// Its listeners for traffic from outside the mesh, in the order of the object.
    pub(crate) listeners: Vec<ListenerFact<'a>>,
    /// Servers of networking.istio.io Gateways that select its pods.
    pub(crate) servers: Vec<ServerFact<'a>>,
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
    let class = object.spec.gateway_class_name.as_str();
    let role = role_of(class);
    let ready = role.is_some() && world.gateway_pods(name).any(pods::ready);
    let generated = generated_name(name.1, class);
    GatewayFact {
        account: format!("{}/{generated}", name.0),
        listeners: match role {
            Some(Role::Ingress) => listeners::derive(&object.spec),
            _ => Vec::new(),
        },
        servers: match role {
            Some(Role::Ingress) => classic::derive(world, name, object),
            _ => Vec::new(),
        },
        address: address(world, (name.0, &generated), object, ready),
        generated,
        object,
        name,
        key: format!("{}/{}", name.0, name.1),
        role,
        ready,
        serves: match role {
            // What is in front of the mesh stands between nobody in it.
            Some(Role::Ingress) => serves(Some("none")),
            _ => serves(label(object.metadata.labels.as_ref(), labels::WAYPOINT_FOR)),
        },
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

/// Its own Service where there is one, else what its status says, rather a host name than an address. A gateway that was
/// ready once keeps its address, so that its loss refuses traffic rather than lets it by.
fn address(
    world: &World<'_>,
    (namespace, name): Name<'_>,
    object: &Resource<GatewaySpec, GatewayStatus>,
    ready: bool,
) -> Option<pb::GatewayAddress> {
    let published = object.status.as_ref().map(|s| s.addresses.as_slice());
    let published = published.and_then(|addresses| {
        let mut named = addresses
            .iter()
            .filter(|a| a.kind.as_deref() == Some("Hostname"));
        named.next().or(addresses.first())
    });
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
    /// Whether we run it.
    pub(crate) fn is_ours(&self) -> bool {
        self.role.is_some()
    }

    /// Whether we run it as a waypoint.
    pub(crate) fn is_waypoint(&self) -> bool {
        self.role == Some(Role::Waypoint)
    }

    /// Whether we run it as an ingress gateway.
    pub(crate) fn is_ingress(&self) -> bool {
        self.role == Some(Role::Ingress)
    }

    /// Ports that take plaintext HTTP from outside the mesh.
    pub(crate) fn plaintext_ports(&self) -> BTreeSet<u16> {
        let usable = self.listeners.iter().filter(|l| l.is_usable());
        let ports = usable.map(|l| l.listener.port);
        ports.chain(self.servers.iter().map(|s| s.port)).collect()
    }

    /// Whether objects of a namespace may be bound to it (`listeners[].allowedRoutes` of its HBONE
    /// listener).
    pub(crate) fn admits(&self, namespace: &str, namespace_labels: Labels<'_>) -> bool {
        if namespace == self.name.0 {
            return true;
        }
        let is_hbone = |l: &&Listener| l.protocol == "HBONE" || l.port == ports::HBONE;
        let listener = self.object.spec.listeners.iter().find(is_hbone);
        listener.is_some_and(|l| admits_others(l, namespace_labels))
    }
}

/// Whether a listener admits objects of another namespace, which has these labels.
pub(crate) fn admits_others(listener: &Listener, namespace_labels: Labels<'_>) -> bool {
    let allowed = listener.allowed_routes.as_ref();
    let Some(namespaces) = allowed.and_then(|a| a.namespaces.as_ref()) else {
        return false;
    };
    match namespaces.from {
        FromNamespaces::All => true,
        FromNamespaces::Same | FromNamespaces::None => false,
        FromNamespaces::Selector => {
            let none = BTreeMap::new();
            let labels = namespace_labels.unwrap_or(&none);
            let selector = namespaces.selector.as_ref();
            selector.is_some_and(|s| s.matches(labels))
        }
    }
}
