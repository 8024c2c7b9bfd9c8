//! Virtual hosts of ingress gateways: HTTPRoutes by the listeners they attach to, VirtualServices by the
//! networking.istio.io Gateways they name.
//! In: HTTPRoutes whose parentRef is a Gateway, VirtualServices, the gateway's listeners and servers. Out: one Router per port and
//! host; what each parentRef comes to.
//! A listener's host without a route has a router without routes: its requests are 404 and fall to no
//! other host.
//! Spec: Gateway API `HTTPRoute.spec.parentRefs`, `hostnames`, `Listener.allowedRoutes`.

use super::{Compiler, Place, http_route, put_router, virtual_service};
use crate::gateways::listeners::{ListenerFact, common};
use crate::gateways::{GatewayFact, Role, admits_others};
use crate::out::Out;
use crate::world::{World, name_of};
use ambit_api::route as pb;
use ambit_crds::Resource;
use ambit_crds::gateway::{FromNamespaces, HttpRouteSpec, ParentRef};
use ambit_model::route::VirtualHost;
use std::collections::{BTreeMap, BTreeSet};

const GATEWAY_API: &str = "gateway.networking.k8s.io";

/// A listener that a route is attached to.
#[derive(Clone, Debug)]
pub(crate) struct Attachment {
    /// Its place in the Gateway.
    pub(crate) listener: usize,
    /// Hosts of the route that it takes.
    pub(crate) hosts: Vec<VirtualHost>,
}

/// Reason and message of a parentRef that comes to nothing.
pub(crate) type Refused = (&'static str, String);

/// Whether a parentRef is to a Gateway.
pub(crate) fn is_gateway(parent: &ParentRef) -> bool {
    parent.kind.as_deref().is_none_or(|kind| kind == "Gateway")
        && parent.group.as_deref().unwrap_or(GATEWAY_API) == GATEWAY_API
}

/// Whether a parentRef of an object in `namespace` is to this Gateway.
pub(crate) fn names(parent: &ParentRef, namespace: &str, gateway: &GatewayFact<'_>) -> bool {
    is_gateway(parent)
        && parent.name == gateway.name.1
        && parent.namespace.as_deref().unwrap_or(namespace) == gateway.name.0
}

/// The listeners that a parentRef to this gateway attaches a route to.
///
/// # Errors
/// None, and why.
pub(crate) fn attach(
    world: &World<'_>,
    gateway: &GatewayFact<'_>,
    route: &Resource<HttpRouteSpec>,
    parent: &ParentRef,
) -> Result<Vec<Attachment>, Refused> {
    if gateway.role == Some(Role::Waypoint) {
        let why = "a waypoint takes routes of Services, not of its Gateway";
        return Err(("NotAllowedByListeners", why.to_owned()));
    }
    let named = |fact: &ListenerFact<'_>| {
        let section = parent.section_name.as_deref();
        section.is_none_or(|name| name == fact.listener.name)
            && parent.port.is_none_or(|port| port == fact.listener.port)
    };
    let all = gateway.listeners.iter().enumerate();
    let meant: Vec<_> = all.filter(|(_, fact)| named(fact)).collect();
    if meant.is_empty() {
        let why = "the Gateway has no listener of that sectionName and port";
        return Err(("NoMatchingParent", why.to_owned()));
    }
    let (namespace, _) = name_of(&route.metadata);
    let allowing: Vec<_> = meant
        .into_iter()
        .filter(|(_, fact)| {
            fact.takes(route.spec.written_as) && allows(world, (gateway, fact), namespace)
        })
        .collect();
    if allowing.is_empty() {
        let kind = route.spec.written_as.kind();
        let why = format!("no listener allows {kind}s of namespace {namespace} (allowedRoutes)");
        return Err(("NotAllowedByListeners", why));
    }
    let attached: Vec<Attachment> = allowing
        .into_iter()
        .map(|(listener, fact)| Attachment {
            listener,
            hosts: hosts(&route.spec, fact),
        })
        .filter(|attachment| !attachment.hosts.is_empty())
        .collect();
    if attached.is_empty() {
        let why = "no hostname of the route is one of a listener";
        return Err(("NoMatchingListenerHostname", why.to_owned()));
    }
    Ok(attached)
}

fn allows(
    world: &World<'_>,
    (gateway, fact): (&GatewayFact<'_>, &ListenerFact<'_>),
    namespace: &str,
) -> bool {
    if !fact.is_usable() {
        return false;
    }
    if namespace != gateway.name.0 {
        return admits_others(fact.listener, world.namespace_labels(namespace));
    }
    let allowed = fact.listener.allowed_routes.as_ref();
    let namespaces = allowed.and_then(|a| a.namespaces.as_ref());
    match namespaces.map(|n| n.from) {
        Some(FromNamespaces::None) => false,
        // A selector speaks of the Gateway's own namespace, too.
        Some(FromNamespaces::Selector) => {
            admits_others(fact.listener, world.namespace_labels(namespace))
        }
        None | Some(FromNamespaces::Same | FromNamespaces::All) => true,
    }
}

/// What both the route and the listener take.
fn hosts(spec: &HttpRouteSpec, fact: &ListenerFact<'_>) -> Vec<VirtualHost> {
    if spec.hostnames.is_empty() {
        return vec![fact.host.clone()];
    }
    let own = spec.hostnames.iter().filter_map(|h| VirtualHost::parse(h));
    let mut both: Vec<_> = own.filter_map(|host| common(&host, &fact.host)).collect();
    both.sort();
    both.dedup();
    both
}

/// Routes attached to each listener, in the order of the Gateway.
pub(crate) fn attached_routes(world: &World<'_>, gateway: &GatewayFact<'_>) -> Vec<usize> {
    let mut counts = vec![0; gateway.listeners.len()];
    for route in &world.http_routes {
        let mut listeners: Vec<usize> = attachments(world, gateway, route)
            .map(|attachment| attachment.listener)
            .collect();
        listeners.sort_unstable();
        listeners.dedup();
        for listener in listeners {
            counts[listener] += 1;
        }
    }
    counts
}

fn attachments(
    world: &World<'_>,
    gateway: &GatewayFact<'_>,
    route: &Resource<HttpRouteSpec>,
) -> impl Iterator<Item = Attachment> {
    let (namespace, _) = name_of(&route.metadata);
    let parents = route.spec.parent_refs.iter();
    let own = parents.filter(move |parent| names(parent, namespace, gateway));
    own.flat_map(move |parent| attach(world, gateway, route, parent).unwrap_or_default())
}

/// Puts out the routers of every ingress gateway.
pub(super) fn derive<'a>(compiler: &mut Compiler<'_, 'a>, out: &mut Out) {
    let gateways = compiler.gateways;
    for gateway in gateways.values().filter(|g| g.is_ingress()) {
        let hosts = virtual_hosts(compiler.world, gateway);
        for ((port, host), routes) in hosts {
            let place = Place { gateway, port };
            let mut http = http_route::compile(compiler, &routes.http_routes, place);
            let named = (place, &routes.named);
            let more = virtual_service::compile(compiler, &routes.virtual_services, named);
            http.extend(more);
            let router = pb::Router {
                gateway: gateway.key.clone(),
                hostname: host.to_string(),
                port: port.into(),
                protocol: pb::Protocol::Http1.into(),
                http,
                ..Default::default()
            };
            put_router(router, gateway, out);
        }
    }
}

type VirtualHosts<'a> = BTreeMap<(u16, VirtualHost), Routes<'a>>;

/// What one virtual host runs: HTTPRoutes, then VirtualServices.
#[derive(Default)]
struct Routes<'a> {
    http_routes: Vec<http_route::Attached<'a>>,
    virtual_services: Vec<virtual_service::Applicable<'a>>,
    /// networking.istio.io Gateways by whose name the latter run here.
    named: BTreeSet<String>,
}

/// Routes by port and host, oldest first.
fn virtual_hosts<'a>(world: &World<'a>, gateway: &GatewayFact<'_>) -> VirtualHosts<'a> {
    let mut hosts = VirtualHosts::new();
    for fact in gateway.listeners.iter().filter(|l| l.is_usable()) {
        hosts
            .entry((fact.listener.port, fact.host.clone()))
            .or_default();
    }
    for route in &world.http_routes {
        let mut own: Vec<(u16, VirtualHost)> = attachments(world, gateway, route)
            .flat_map(|attachment| {
                let port = gateway.listeners[attachment.listener].listener.port;
                attachment.hosts.into_iter().map(move |host| (port, host))
            })
            .collect();
        own.sort();
        own.dedup();
        for key in own {
            let routes = hosts.entry(key).or_default();
            routes.http_routes.push(http_route::Attached::new(route));
        }
    }
    for server in &gateway.servers {
        for (host, found) in virtual_service::at_server(world, gateway, server) {
            let routes = hosts.entry((server.port, host)).or_default();
            routes.named.insert(server.gateway.clone());
            if routes
                .virtual_services
                .iter()
                .all(|vs| vs.key() != found.key())
            {
                routes.virtual_services.push(found);
            }
        }
    }
    hosts
}
