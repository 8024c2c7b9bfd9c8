//! VirtualService → routes of one service port at one waypoint, or of one virtual host at an ingress
//! gateway whose networking.istio.io Gateway it names.
//! Applies at a waypoint: a host that matches the service, the implicit `mesh` gateway, an object of the
//! service's or the waypoint's namespace that `exportTo` shows to the waypoint. Several for one
//! service follow each other, oldest first; those with a more specific host hide the others.
//! First match wins; what follows a catch-all is left out.
//! Source: istio/api networking/v1 VirtualService.

mod actions;
mod matching;

use super::hosts::{self, Hosts};
use super::parts;
use super::{Compiler, Place, Remarks, Target};
use crate::gateways::GatewayFact;
use crate::gateways::classic::ServerFact;
use crate::gateways::listeners::common;
use crate::services::{PortFact, ServiceFact};
use crate::world::{World, name_of};
use ambit_api::route as pb;
use ambit_crds::istio::{Destination, HttpRoute, VirtualServiceSpec};
use ambit_crds::{Kind, ObjectKey, Resource};
use ambit_model::route::VirtualHost;
use pb::http_route::Action;
use std::collections::{BTreeMap, BTreeSet};

/// Gateway of traffic inside the mesh.
const MESH: &str = "mesh";
/// Names a cluster that nobody defines: its requests fail.
const NOWHERE: &str = "-/unknown/0";

/// A VirtualService that applies to a target.
#[derive(Clone, Copy)]
pub(crate) struct Applicable<'a> {
    object: &'a Resource<VirtualServiceSpec>,
}

impl Applicable<'_> {
    pub(crate) fn key(&self) -> ObjectKey {
        key(self.object)
    }
}

fn key(object: &Resource<VirtualServiceSpec>) -> ObjectKey {
    let (namespace, name) = name_of(&object.metadata);
    ObjectKey::new(Kind::VirtualService, namespace, name)
}

/// Those that apply, oldest first.
pub(crate) fn applicable<'a>(
    world: &World<'a>,
    hosts: &Hosts<'_, '_>,
    target: Target<'_, 'a>,
) -> Vec<Applicable<'a>> {
    let client = target.gateway.name.0;
    let mut fitting: Vec<(usize, Applicable<'a>)> = Vec::new();
    for object in &world.virtual_services {
        let (namespace, _) = name_of(&object.metadata);
        let in_place = namespace == target.service.namespace || namespace == client;
        let spec = &object.spec;
        if !in_place
            || !hosts::visible(&spec.export_to, namespace, client)
            || !is_mesh(&spec.gateways)
        {
            continue;
        }
        let fits = spec
            .hosts
            .iter()
            .filter_map(|host| hosts.fit(host, namespace, &target.service.hostname));
        if let Some(fit) = fits.max() {
            fitting.push((fit, Applicable { object }));
        }
    }
    let best = fitting.iter().map(|(fit, _)| *fit).max();
    fitting.retain(|(fit, _)| Some(*fit) == best);
    fitting.into_iter().map(|(_, vs)| vs).collect()
}

/// Those that a server of a networking.istio.io Gateway takes, with the hosts that both have.
pub(crate) fn at_server<'a>(
    world: &World<'a>,
    gateway: &GatewayFact<'_>,
    server: &ServerFact<'_>,
) -> Vec<(VirtualHost, Applicable<'a>)> {
    let mut found = Vec::new();
    for object in &world.virtual_services {
        let (namespace, _) = name_of(&object.metadata);
        let spec = &object.spec;
        let names_it = spec
            .gateways
            .iter()
            .any(|g| full(g, namespace) == server.gateway);
        if !names_it || !hosts::visible(&spec.export_to, namespace, gateway.name.0) {
            continue;
        }
        let mut own = BTreeSet::new();
        for text in &spec.hosts {
            let full = hosts::full_name(world.config, text, namespace);
            let Some(host) = VirtualHost::parse(&full) else {
                continue;
            };
            let open = server.hosts.iter();
            let open = open.filter(|s| s.namespace.is_none_or(|n| n == namespace));
            own.extend(open.filter_map(|served| common(&host, &served.host)));
        }
        found.extend(own.into_iter().map(|host| (host, Applicable { object })));
    }
    found
}

/// `<namespace>/<name>` of a gateway as an object in `own` names it.
fn full(gateway: &str, own: &str) -> String {
    match gateway.contains('/') {
        true => gateway.to_owned(),
        false => format!("{own}/{gateway}"),
    }
}

/// Marks every VirtualService as known, so that one that runs nowhere is told so.
pub(crate) fn report(world: &World<'_>, remarks: &mut BTreeMap<ObjectKey, Remarks>) {
    for object in &world.virtual_services {
        let remarks = remarks.entry(key(object)).or_default();
        remarks.for_gateways = !is_mesh(&object.spec.gateways);
    }
}

fn is_mesh(gateways: &[String]) -> bool {
    gateways.is_empty() || gateways.iter().any(|g| g == MESH)
}

/// Compiles them, one after the other.
pub(crate) fn compile<'t, 'a>(
    compiler: &mut Compiler<'t, 'a>,
    all: &[Applicable<'a>],
    (place, named): (Place<'t, 'a>, &BTreeSet<String>),
) -> Vec<pb::HttpRoute> {
    let mut routes = Vec::new();
    for vs in all {
        let remarks = compiler.remarks(vs.key());
        match place.gateway.is_ingress() {
            true => remarks.at_gateway = true,
            false => remarks.used = true,
        }
        for (i, http) in vs.object.spec.http.iter().enumerate() {
            let mut one = One {
                compiler,
                place,
                named,
                object: vs.object,
                path: format!("spec.http[{i}]"),
            };
            let Some(route) = one.route(http) else {
                continue;
            };
            let catches_all = route.matches.is_empty();
            routes.push(route);
            if catches_all {
                return routes;
            }
        }
    }
    routes
}

/// One `http[]` entry being compiled.
struct One<'c, 't, 'a> {
    compiler: &'c mut Compiler<'t, 'a>,
    place: Place<'t, 'a>,
    /// Gateways by whose name it runs here; none: for the mesh.
    named: &'c BTreeSet<String>,
    object: &'a Resource<VirtualServiceSpec>,
    path: String,
}

impl<'t, 'a> One<'_, 't, 'a> {
    /// Whether an entry for these gateways is for this place.
    fn is_here(&self, gateways: &[String]) -> bool {
        if self.named.is_empty() {
            return is_mesh(gateways);
        }
        let (own, _) = name_of(&self.object.metadata);
        gateways.is_empty() || gateways.iter().any(|g| self.named.contains(&full(g, own)))
    }

    /// `None` when the entry is for other ports only.
    fn route(&mut self, http: &HttpRoute) -> Option<pb::HttpRoute> {
        let here = http.matches.iter().filter(|m| {
            self.is_here(&m.gateways) && m.port.is_none_or(|port| port == self.place.port)
        });
        let mut matches: Vec<pb::HttpMatch> = here.map(matching::entry).collect();
        if matches.is_empty() && !http.matches.is_empty() {
            return None;
        }
        // An entry without conditions makes the others moot.
        if matches.iter().any(|m| *m == pb::HttpMatch::default()) {
            matches.clear();
        }
        let action = self.action(http);
        let headers = http.headers.as_ref();
        let request = headers.and_then(|h| h.request.as_ref());
        let response = headers.and_then(|h| h.response.as_ref());
        let (namespace, name) = name_of(&self.object.metadata);
        Some(pb::HttpRoute {
            name: http.name.clone(),
            source: format!("VirtualService {namespace}/{name} {}", self.path),
            matches,
            action: Some(action),
            request_headers: actions::header_ops(request),
            response_headers: actions::header_ops(response),
            rewrite: http.rewrite.as_ref().map(actions::rewrite),
            timeout_ms: http.timeout.map_or(0, parts::millis),
            retry: Some(self.retry(http)),
            fault: http.fault.as_ref().map(actions::fault),
            mirrors: self.mirrors(http),
        })
    }

    fn action(&mut self, http: &HttpRoute) -> Action {
        if let Some(redirect) = &http.redirect {
            return Action::Redirect(actions::redirect(redirect));
        }
        if let Some(direct) = &http.direct_response {
            return Action::DirectResponse(actions::direct_response(direct));
        }
        let alone = http.route.len() == 1;
        let mut clusters = Vec::with_capacity(http.route.len());
        for (i, to) in http.route.iter().enumerate() {
            let weight = if alone { to.weight.max(1) } else { to.weight };
            let path = format!("{}.route[{i}].destination", self.path);
            let destination = to.destination.clone().unwrap_or_default();
            let cluster = self.cluster(&destination, &path);
            let headers = to.headers.as_ref();
            let request = headers.and_then(|h| h.request.as_ref());
            let response = headers.and_then(|h| h.response.as_ref());
            clusters.push(pb::WeightedCluster {
                cluster,
                weight,
                request_headers: actions::header_ops(request),
                response_headers: actions::header_ops(response),
            });
        }
        Action::Forward(pb::Forward { clusters })
    }

    fn mirrors(&mut self, http: &HttpRoute) -> Vec<pb::Mirror> {
        let mut mirrors = Vec::new();
        if let Some(destination) = &http.mirror {
            let path = format!("{}.mirror", self.path);
            mirrors.push(pb::Mirror {
                cluster: self.cluster(destination, &path),
                ppm: http.mirror_percentage.map_or(parts::ALL, |p| p.ppm()),
            });
        }
        for (i, mirror) in http.mirrors.iter().enumerate() {
            let path = format!("{}.mirrors[{i}].destination", self.path);
            let destination = mirror.destination.clone().unwrap_or_default();
            mirrors.push(pb::Mirror {
                cluster: self.cluster(&destination, &path),
                ppm: mirror.percentage.map_or(parts::ALL, |p| p.ppm()),
            });
        }
        mirrors
    }

    fn retry(&mut self, http: &HttpRoute) -> pb::Retry {
        let Some(retries) = &http.retries else {
            return parts::default_retry();
        };
        let (retry, unknown) = actions::retry(retries);
        for word in unknown {
            let text = format!(
                "{}.retries.retryOn: `{word}` is not a known condition",
                self.path
            );
            self.problem(text);
        }
        retry
    }

    /// The cluster a destination means. One that means nothing fails its requests and is reported.
    fn cluster(&mut self, destination: &Destination, path: &str) -> String {
        let (namespace, _) = name_of(&self.object.metadata);
        let Some(service) = self.compiler.hosts.service(&destination.host, namespace) else {
            self.problem(format!(
                "{path}.host: service `{}` does not exist",
                destination.host
            ));
            return NOWHERE.to_owned();
        };
        let wanted = destination.port.as_ref().map(|p| p.number);
        let Some(port) = self.port(service, wanted) else {
            let number = wanted.unwrap_or(self.place.port);
            self.problem(format!(
                "{path}.port: service {} has no port {number}",
                service.key
            ));
            return super::clusters::name(&service.key, number, &destination.subset);
        };
        let subset = destination.subset.as_str();
        let client = self.place.gateway.name.0;
        let world = self.compiler.world;
        if !subset.is_empty()
            && !super::destination_rule::has_subset(world, service, client, subset)
        {
            let key = &service.key;
            self.problem(format!(
                "{path}.subset: no DestinationRule of {key} defines subset `{subset}`"
            ));
        }
        let at = (world, self.place);
        self.compiler.clusters.need(at, service, port, subset)
    }

    /// The port given, else the only one, else the one the request was addressed to.
    fn port(&self, service: &ServiceFact<'a>, wanted: Option<u16>) -> Option<PortFact> {
        let number = match (wanted, &service.ports[..]) {
            (Some(number), _) => number,
            (None, [only]) => only.number,
            (None, _) => self.place.port,
        };
        service.ports.iter().find(|p| p.number == number).copied()
    }

    fn problem(&mut self, text: String) {
        tracing::debug!(object = %key(self.object), problem = %text, "route refers to nothing");
        self.compiler.remarks(key(self.object)).problem(text);
    }
}
