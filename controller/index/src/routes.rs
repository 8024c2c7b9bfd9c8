//! Routes → `ambit.route.v1`: what each waypoint does with each port of each service bound to it, and
//! each ingress gateway with each virtual host of its listeners.
//! In: bound services and their policies, HTTPRoutes, VirtualServices, DestinationRules, workloads. Out:
//! Router, Cluster and Endpoints resources for the gateways, and statuses of the routes.
//! Precedence per service port: an HTTPRoute attached to the service, else VirtualServices (oldest
//! first, one after the other), else the default route. The loser's status says so.

mod clusters;
mod destination_rule;
mod endpoints;
mod hosts;
mod http_route;
pub(crate) mod ingress;
mod parts;
mod remembered;
mod virtual_service;

pub(crate) use remembered::Remembered;

use crate::gateways::GatewayFact;
use crate::out::Out;
use crate::policies::Attached;
use crate::resource::Resource;
use crate::services::{PortFact, ServiceFact};
use crate::statuses::Condition;
use crate::workloads::Members;
use crate::world::{Name, World};
use ambit_api::{route as pb, type_urls, workload::AppProtocol};
use ambit_crds::ObjectKey;
use clusters::Clusters;
use hosts::Hosts;
use remembered::{Compiled, Reads};
use std::collections::{BTreeMap, BTreeSet};

/// Condition of a route object: whether any waypoint runs it.
const BOUND: &str = "ambit.io/Bound";

/// The port of a service at a gateway that routes are compiled for.
#[derive(Clone, Copy)]
pub(crate) struct Target<'t, 'a> {
    pub(crate) gateway: &'t GatewayFact<'a>,
    pub(crate) service: &'t ServiceFact<'a>,
    pub(crate) port: PortFact,
}

impl<'t, 'a> Target<'t, 'a> {
    /// Where its routes run.
    fn place(self) -> Place<'t, 'a> {
        Place {
            gateway: self.gateway,
            port: self.port.number,
        }
    }
}

/// Where routes run: a port of a service or of a listener, at a gateway.
#[derive(Clone, Copy)]
pub(crate) struct Place<'t, 'a> {
    pub(crate) gateway: &'t GatewayFact<'a>,
    pub(crate) port: u16,
}

/// What compiling routes reads and collects.
pub(crate) struct Compiler<'t, 'a> {
    pub(crate) world: &'t World<'a>,
    pub(crate) gateways: &'t BTreeMap<Name<'a>, GatewayFact<'a>>,
    pub(crate) hosts: Hosts<'t, 'a>,
    pub(crate) clusters: Clusters<'t, 'a>,
    /// What each route object is told.
    pub(crate) remarks: BTreeMap<ObjectKey, Remarks>,
}

/// What one route object is told.
#[derive(Debug, Default)]
pub(crate) struct Remarks {
    /// It runs at a waypoint.
    pub(crate) used: bool,
    /// It runs at a gateway that it names.
    pub(crate) at_gateway: bool,
    /// It names gateways and is not for the mesh.
    pub(crate) for_gateways: bool,
    /// Things that do not work as written, once each.
    pub(crate) problems: Vec<String>,
    /// Why it does not run somewhere.
    pub(crate) losses: Vec<String>,
}

impl Remarks {
    pub(crate) fn problem(&mut self, text: String) {
        if !self.problems.contains(&text) {
            self.problems.push(text);
        }
    }

    pub(crate) fn loss(&mut self, text: String) {
        if !self.losses.contains(&text) {
            self.losses.push(text);
        }
    }
}

/// Derives everything for the gateways of ours. What was compiled stays as long as nothing that was read differs.
pub(crate) fn derive<'a>(
    world: &World<'a>,
    (gateways, attached): (&BTreeMap<Name<'a>, GatewayFact<'a>>, &Attached),
    (services, members): (&[ServiceFact<'a>], &Members<'_, 'a>),
    remembered: &mut Remembered,
    out: &mut Out,
) {
    let hosts = Hosts::new(world.config, services);
    let compiled = remembered.compiled.take();
    let compiled = match compiled.filter(|known| known.reads.still(&hosts, services)) {
        Some(compiled) => compiled,
        None => compile(world, (gateways, attached), (hosts, services)),
    };
    out.resources.add(&compiled.out.resources);
    out.statuses.add(&compiled.out.statuses);
    let known = &mut remembered.endpoints;
    endpoints::put(world, &compiled.served, members, known, out);
    remembered.compiled = Some(compiled);
}

fn compile<'a>(
    world: &World<'a>,
    (gateways, attached): (&BTreeMap<Name<'a>, GatewayFact<'a>>, &Attached),
    (hosts, services): (Hosts<'_, 'a>, &[ServiceFact<'a>]),
) -> Compiled {
    let mut out = Out::default();
    let mut compiler = Compiler {
        world,
        gateways,
        hosts,
        clusters: Clusters::new(gateways),
        remarks: BTreeMap::new(),
    };
    let ours: BTreeMap<&str, &GatewayFact<'a>> = gateways
        .values()
        .filter(|g| g.is_waypoint())
        .map(|g| (g.key.as_str(), g))
        .collect();
    for service in services {
        let canary = service.canary.iter().map(|(gateway, _)| gateway);
        let keys = service.waypoint.iter().chain(canary);
        let gateways = keys.filter_map(|key| ours.get(key.as_str()));
        for gateway in gateways.filter(|_| service.has_address()) {
            for port in &service.ports {
                let target = Target {
                    gateway,
                    service,
                    port: *port,
                };
                let mut router = compiler.router(target);
                router.policies = attached.of_service(&service.key);
                put_router(router, gateway, &mut out);
            }
        }
    }
    ingress::derive(&mut compiler, &mut out);
    destination_rule::report(world, &mut out);
    http_route::report(&compiler, &mut out);
    let reads = Reads::of(&compiler.hosts, services);
    let served = compiler.clusters.put(world, &mut out);
    virtual_service::report(world, &mut compiler.remarks);
    for (key, remarks) in compiler.remarks {
        say(key, &remarks, &mut out);
    }
    Compiled { reads, out, served }
}

/// Tells a VirtualService what became of it. HTTPRoutes are told in their own form.
fn say(key: ObjectKey, remarks: &Remarks, out: &mut Out) {
    if key.kind != ambit_crds::Kind::VirtualService {
        return;
    }
    let runs = (remarks.used, remarks.at_gateway);
    let (met, reason, message) = match (&remarks.losses[..], runs) {
        ([], (true, false)) => (
            true,
            "Bound",
            "runs at the waypoint of its hosts".to_owned(),
        ),
        ([], (false, true)) => (true, "Bound", "runs at the gateways it names".to_owned()),
        ([], (true, true)) => (
            true,
            "Bound",
            "runs at the waypoint of its hosts and at the gateways it names".to_owned(),
        ),
        ([], _) if remarks.for_gateways => (
            false,
            "NoGateway",
            "no gateway of ours serves its hosts at a Gateway it names; it has no effect"
                .to_owned(),
        ),
        ([], _) => (
            false,
            "NoWaypoint",
            "no waypoint serves its hosts; it has no effect".to_owned(),
        ),
        (losses, _) => (false, "Conflicted", losses.join("; ")),
    };
    let bound = Condition::new(BOUND, met, reason, message);
    out.statuses.condition(key.clone(), bound);
    let accepted = if remarks.problems.is_empty() {
        Condition::new(crate::statuses::ACCEPTED, true, "Accepted", "valid")
    } else {
        Condition::rejected("ReferenceNotFound", remarks.problems.join("; "))
    };
    out.statuses.condition(key, accepted);
}

fn put_router(router: pb::Router, gateway: &GatewayFact<'_>, out: &mut Out) {
    let addressed = match router.hostname.as_str() {
        "" => router.service.clone(),
        host => format!("listener/{host}"),
    };
    let name = format!("{}/{addressed}/{}", router.gateway, router.port);
    let resource = Resource::new(&router, Vec::new(), gateway.audience());
    out.resources.put(type_urls::ROUTER, name, resource);
}

impl<'t, 'a> Compiler<'t, 'a> {
    fn router(&mut self, target: Target<'t, 'a>) -> pb::Router {
        let protocol = protocol(target.port.protocol);
        let place = target.place();
        let clusters = &mut self.clusters;
        let own = clusters.need((self.world, place), target.service, target.port, "");
        let all = || {
            vec![pb::WeightedCluster {
                cluster: own.clone(),
                weight: 1,
                ..Default::default()
            }]
        };
        let http = match protocol {
            pb::Protocol::Tcp => Vec::new(),
            _ => self
                .http(target)
                .unwrap_or_else(|| vec![parts::default_route(all())]),
        };
        let tcp = match protocol {
            // Bytes name no host: connections are refused.
            _ if target.service.is_by_host() => Vec::new(),
            pb::Protocol::Tcp | pb::Protocol::Auto => vec![pb::TcpRoute {
                source: "default".to_owned(),
                clusters: all(),
            }],
            _ => Vec::new(),
        };
        pb::Router {
            gateway: target.gateway.key.clone(),
            service: target.service.key.clone(),
            port: target.port.number.into(),
            protocol: protocol.into(),
            http,
            tcp,
            by_host: target.service.is_by_host(),
            ..Default::default()
        }
    }

    /// Routes of the objects that are for this port; `None` when there is none.
    fn http(&mut self, target: Target<'t, 'a>) -> Option<Vec<pb::HttpRoute>> {
        let http_routes = http_route::attached(self.world, target);
        let virtual_services = virtual_service::applicable(self.world, &self.hosts, target);
        if !http_routes.is_empty() {
            for vs in virtual_services {
                let winner = http_routes.iter().map(|r| r.name()).collect::<Vec<_>>();
                self.remarks(vs.key()).loss(format!(
                    "{} is attached to {} port {} and runs instead",
                    winner.join(", "),
                    target.service.key,
                    target.port.number
                ));
            }
            return Some(http_route::compile(self, &http_routes, target.place()));
        }
        if virtual_services.is_empty() {
            return None;
        }
        Some(virtual_service::compile(
            self,
            &virtual_services,
            (target.place(), &BTreeSet::new()),
        ))
    }

    pub(crate) fn remarks(&mut self, key: ObjectKey) -> &mut Remarks {
        self.remarks.entry(key).or_default()
    }
}

pub(crate) fn protocol(app: AppProtocol) -> pb::Protocol {
    match app {
        AppProtocol::Unknown => pb::Protocol::Auto,
        AppProtocol::Http11 => pb::Protocol::Http1,
        AppProtocol::Http2 => pb::Protocol::Http2,
        AppProtocol::Grpc => pb::Protocol::Grpc,
        // TLS is not terminated for the application.
        AppProtocol::Tcp | AppProtocol::Tls => pb::Protocol::Tcp,
    }
}
