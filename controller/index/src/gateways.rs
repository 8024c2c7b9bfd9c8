//! Gateways that may be waypoints: any class with an address, and those of our own classes, waypoints
//! and ingress gateways.
//! In: Gateway objects and their classes, their pods and services. Out: where each is reached, what runs it, whom it
//! serves, how its pods get connections, and what its listeners take from outside the mesh.
//! Source: `gateway.networking.k8s.io/v1 Gateway`; Istio's waypoint conversion.

pub(crate) mod classic;
pub(crate) mod listeners;
pub(crate) mod naming;

use crate::octets::octets;
use crate::pods;
use crate::resource::Audience;
use crate::selector::{Labels, label};
use crate::world::{Name, World};
use ambit_api::{labels, ports, workload as pb};
use ambit_crds::Resource;
use ambit_crds::annotations::{
    Annotations, InboundBinding, client_identity, inbound_binding, is_taken,
};
use ambit_crds::gateway::{FromNamespaces, GatewaySpec, GatewayStatus, Listener};
use classic::ServerFact;
use listeners::ListenerFact;
use naming::Naming;
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

/// Protocol of a listener whose connections begin with a PROXY protocol header.
const PROXY_LISTENER: &str = "istio.io/PROXY";

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

/// What we run a gateway as. One that a newer controller has taken is a third party's.
fn role(object: &Resource<GatewaySpec, GatewayStatus>) -> Option<Role> {
    let taken = object.metadata.annotations.as_ref().is_some_and(is_taken);
    role_of(&object.spec.gateway_class_name).filter(|_| !taken)
}

/// Name of what runs a gateway, unless it says another: ServiceAccount, Service, Deployment.
fn generated_name(name: &str, class: &str) -> String {
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
    /// Name of what runs it; empty where nothing does and nothing can.
    pub(crate) generated: String,
    /// Name of the service account that it is to run with.
    pub(crate) account: String,
    /// Service accounts `<namespace>/<name>` that its pods have or are to have.
    pub(crate) accounts: BTreeSet<String>,
    /// Why it cannot be called what it should be: what runs it stays as it is.
    pub(crate) fault: Option<String>,
    /// How node proxies hand connections to its pods, where those are somebody else's.
    pub(crate) binding: Option<InboundBinding>,
    /// Applications are told who called.
    pub(crate) tells_client: bool,
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
    let mut names = naming::derive(world);
    world
        .gateways
        .iter()
        .map(|(name, object)| {
            let naming = names.remove(name).unwrap_or_default();
            (*name, one(world, *name, object, naming))
        })
        .collect()
}

fn one<'a>(
    world: &World<'a>,
    name: Name<'a>,
    object: &'a Resource<GatewaySpec, GatewayStatus>,
    naming: Naming,
) -> GatewayFact<'a> {
    let role = role(object);
    let ready = role.is_some() && world.gateway_pods(name).any(pods::ready);
    let service = role.map(|_| (name.0, naming.generated.as_str()));
    let class = world.gateway_classes.get(&*object.spec.gateway_class_name);
    let class = class.map(|class| &class.metadata);
    let own = object.metadata.labels.as_ref();
    let of_class = class.and_then(|class| class.labels.as_ref());
    let said = (
        object.metadata.annotations.as_ref(),
        class.and_then(|c| c.annotations.as_ref()),
    );
    GatewayFact {
        accounts: naming::accounts(world, name, &naming),
        listeners: match role {
            Some(Role::Ingress) => listeners::derive(&object.spec),
            _ => Vec::new(),
        },
        servers: match role {
            Some(Role::Ingress) => classic::derive(world, name, object),
            _ => Vec::new(),
        },
        address: address(world, (name.0, service), object, ready),
        generated: naming.generated,
        account: naming.account,
        fault: naming.fault,
        binding: match role {
            None => annotated(said, inbound_binding),
            Some(_) => None,
        },
        tells_client: annotated(said, client_identity).unwrap_or(true),
        object,
        name,
        key: format!("{}/{}", name.0, name.1),
        role,
        ready,
        serves: match role {
            // What is in front of the mesh stands between nobody in it.
            Some(Role::Ingress) => serves(Some("none")),
            _ => {
                let of_class = label(of_class, labels::WAYPOINT_FOR);
                serves(label(own, labels::WAYPOINT_FOR).or(of_class))
            }
        },
    }
}

/// What a Gateway says, else its class. What is wrong on the Gateway hides the class, too.
fn annotated<T>(
    (own, of_class): (Labels<'_>, Labels<'_>),
    read: impl Fn(&Annotations) -> Result<Option<T>, String>,
) -> Option<T> {
    let read = |annotations: Labels<'_>| annotations.map_or(Ok(None), &read);
    match read(own) {
        Ok(None) => read(of_class).ok().flatten(),
        said => said.ok().flatten(),
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

/// The Service that we generate where there is one, else what its status says, rather a host name than an address. A
/// gateway that was ready once keeps its address, so that its loss refuses traffic rather than lets it by.
fn address(
    world: &World<'_>,
    (namespace, service): (&str, Option<Name<'_>>),
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
    let service = service.filter(|service| world.services.contains_key(service));
    let destination = if let Some((namespace, name)) = service {
        Destination::Hostname(pb::NamespacedHostname {
            namespace: namespace.to_owned(),
            hostname: world.config.hostname(namespace, name),
        })
    } else {
        let published = published?;
        match published.value.parse() {
            Ok(ip) => Destination::Address(pb::NetworkAddress {
                network: world.network.to_owned(),
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

    /// Whether it is of a class of ours, and a newer controller has taken it.
    pub(crate) fn is_taken(&self) -> bool {
        self.role.is_none() && role_of(&self.object.spec.gateway_class_name).is_some()
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

    /// Who its configuration is for.
    pub(crate) fn audience(&self) -> Audience {
        let accounts: Vec<String> = self.accounts.iter().cloned().collect();
        Audience::Gateways(accounts.into())
    }

    /// How node proxies hand connections to its pods.
    pub(crate) fn application_tunnel(&self) -> Option<pb::ApplicationTunnel> {
        let (protocol, port) = match self.binding? {
            InboundBinding::None => (pb::application_tunnel::Protocol::None, 0),
            InboundBinding::Proxy { port } => (pb::application_tunnel::Protocol::Proxy, port),
        };
        Some(pb::ApplicationTunnel {
            protocol: protocol.into(),
            port: port.into(),
        })
    }

    /// Whether objects of a namespace may be bound to it (`listeners[].allowedRoutes` of the listener that its
    /// connections are for, else of its HBONE listener).
    pub(crate) fn admits(&self, namespace: &str, namespace_labels: Labels<'_>) -> bool {
        if namespace == self.name.0 {
            return true;
        }
        let is_hbone = |l: &&Listener| l.protocol == "HBONE" || l.port == ports::HBONE;
        let is_bound = |l: &&Listener| match self.binding {
            Some(InboundBinding::Proxy { port: 0 }) => l.protocol == PROXY_LISTENER,
            Some(InboundBinding::Proxy { port }) => l.port == port,
            Some(InboundBinding::None) | None => false,
        };
        let listeners = || self.object.spec.listeners.iter();
        let bound = listeners().find(is_bound);
        let listener = bound.or_else(|| listeners().find(is_hbone));
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
