//! HTTPRoute, and the GRPCRoute that was read as one → routes of one service port at one waypoint, or of one virtual host at an ingress gateway.
//! Applies at a waypoint: a parentRef to the Service or ServiceEntry (and, if given, the port) from the service's own namespace.
//! Every match of every rule becomes a route; they are ordered by specificity as Gateway API says:
//! exact path, longer prefix, method, more headers, more query parameters, then the older object,
//! then the order of rules. No match is 404.
//! Source: Gateway API v1 HTTPRoute, GEP-1426.

mod filters;
mod order;
mod status;

use super::{Compiler, Place, Target, parts};
use crate::grants;
use crate::services::{Origin, ServiceFact};
use crate::world::{World, name_of};
use ambit_api::route as pb;
use ambit_crds::gateway::{BackendRef, HttpRouteSpec, ParentRef, RouteRule};
use ambit_crds::{ObjectKey, Resource};
use ambit_routing::http::select::INVALID_BACKEND;
use pb::http_route::Action;

pub(crate) use status::report;

/// An HTTPRoute that applies to a target.
#[derive(Clone, Copy)]
pub(crate) struct Attached<'a> {
    object: &'a Resource<HttpRouteSpec>,
}

impl<'a> Attached<'a> {
    /// One that applies for another reason than [`attached`].
    pub(super) fn new(object: &'a Resource<HttpRouteSpec>) -> Self {
        Self { object }
    }

    /// `<kind> <namespace>/<name>`.
    pub(crate) fn name(&self) -> String {
        name(self.object)
    }
}

fn key(object: &Resource<HttpRouteSpec>) -> ObjectKey {
    let (namespace, name) = name_of(&object.metadata);
    ObjectKey::new(object.spec.written_as.kind(), namespace, name)
}

fn name(object: &Resource<HttpRouteSpec>) -> String {
    let (namespace, name) = name_of(&object.metadata);
    let kind = object.spec.written_as.kind();
    format!("{kind} {namespace}/{name}")
}

/// Whether a parentRef is to a Service.
fn is_service(parent: &ParentRef) -> bool {
    let group = parent.group.as_deref();
    parent.kind.as_deref() == Some("Service") && matches!(group, Some("" | "core"))
}

/// Whether a parentRef is to a ServiceEntry.
fn is_entry(parent: &ParentRef) -> bool {
    parent.kind.as_deref() == Some("ServiceEntry") && parent.group.as_deref() == Some(ISTIO)
}

/// Group of Istio's kinds.
const ISTIO: &str = "networking.istio.io";

/// Those that apply, oldest first.
pub(crate) fn attached<'a>(world: &World<'a>, target: Target<'_, 'a>) -> Vec<Attached<'a>> {
    let applies = |object: &&'a Resource<HttpRouteSpec>| {
        let (namespace, _) = name_of(&object.metadata);
        namespace == target.service.namespace
            && object.spec.parent_refs.iter().any(|parent| {
                let is_kind = match target.service.origin {
                    Origin::Service(_) => is_service(parent),
                    Origin::Entry(_) => is_entry(parent),
                };
                is_kind
                    && parent.namespace.as_deref().unwrap_or(namespace) == target.service.namespace
                    && parent.name == target.service.name
                    && parent.port.is_none_or(|port| port == target.port.number)
            })
    };
    let routes = world.http_routes.iter().copied().filter(applies);
    routes.map(|object| Attached { object }).collect()
}

/// Compiles them into one order.
pub(crate) fn compile<'t, 'a>(
    compiler: &mut Compiler<'t, 'a>,
    all: &[Attached<'a>],
    place: Place<'t, 'a>,
) -> Vec<pb::HttpRoute> {
    let mut routes = Vec::new();
    for attached in all {
        if place.gateway.is_waypoint() {
            compiler.remarks(key(attached.object)).used = true;
        }
        for (i, rule) in attached.object.spec.rules.iter().enumerate() {
            let mut one = One {
                compiler,
                place,
                object: attached.object,
                path: format!("spec.rules[{i}]"),
            };
            routes.extend(one.routes(rule));
        }
        if attached.object.spec.rules.is_empty() {
            // No rule at all matches every path and forwards nowhere (Gateway API default rule).
            let rule = RouteRule::default();
            let mut one = One {
                compiler,
                place,
                object: attached.object,
                path: "spec.rules".to_owned(),
            };
            routes.extend(one.routes(&rule));
        }
    }
    order::sort(&mut routes);
    routes.into_iter().map(|(_, route)| route).collect()
}

/// One rule being compiled.
struct One<'c, 't, 'a> {
    compiler: &'c mut Compiler<'t, 'a>,
    place: Place<'t, 'a>,
    object: &'a Resource<HttpRouteSpec>,
    path: String,
}

impl One<'_, '_, '_> {
    fn routes(&mut self, rule: &RouteRule) -> Vec<(order::Weight, pb::HttpRoute)> {
        let base = self.base(rule);
        let every = [ambit_crds::gateway::RouteMatch::default()];
        let matches = if rule.matches.is_empty() {
            &every[..]
        } else {
            &rule.matches[..]
        };
        matches
            .iter()
            .map(|m| {
                let route = pb::HttpRoute {
                    matches: filters::matches(m).into_iter().collect(),
                    ..base.clone()
                };
                (order::Weight::of(m), route)
            })
            .collect()
    }

    fn base(&mut self, rule: &RouteRule) -> pb::HttpRoute {
        let mut applied = filters::Applied::of(&rule.filters);
        let action = match applied.redirect.take() {
            Some(redirect) => Action::Redirect(redirect),
            None => Action::Forward(self.forward(rule)),
        };
        let mut mirrors = Vec::new();
        for (i, mirror) in applied.mirrors.iter().enumerate() {
            let path = format!("{}.filters[{i}].requestMirror.backendRef", self.path);
            // A mirror that leads nowhere is no reason to fail the request.
            if let Some(cluster) = self.cluster(&mirror.backend_ref, &path) {
                mirrors.push(pb::Mirror {
                    cluster,
                    ppm: filters::mirror_ppm(mirror),
                });
            }
        }
        let timeouts = rule.timeouts.as_ref();
        let per_try = timeouts
            .and_then(|t| t.backend_request)
            .map_or(0, parts::millis);
        pb::HttpRoute {
            name: rule.name.clone().unwrap_or_default(),
            source: format!("{} {}", name(self.object), self.path),
            action: Some(action),
            request_headers: applied.request_headers,
            response_headers: applied.response_headers,
            rewrite: applied.rewrite,
            timeout_ms: timeouts.and_then(|t| t.request).map_or(0, parts::millis),
            retry: Some(pb::Retry {
                per_try_timeout_ms: per_try,
                ..parts::default_retry()
            }),
            mirrors,
            ..Default::default()
        }
    }

    fn forward(&mut self, rule: &RouteRule) -> pb::Forward {
        let mut clusters = Vec::with_capacity(rule.backend_refs.len());
        for (i, backend) in rule.backend_refs.iter().enumerate() {
            let path = format!("{}.backendRefs[{i}]", self.path);
            let applied = filters::Applied::of(&backend.filters);
            clusters.push(pb::WeightedCluster {
                cluster: self
                    .cluster(backend, &path)
                    .unwrap_or_else(|| INVALID_BACKEND.to_owned()),
                weight: backend.weight.unwrap_or(1),
                request_headers: applied.request_headers,
                response_headers: applied.response_headers,
            });
        }
        pb::Forward { clusters }
    }

    /// The cluster of a backend; `None` and a remark when it means nothing.
    fn cluster(&mut self, backend: &BackendRef, path: &str) -> Option<String> {
        match self.resolve(backend) {
            Ok(cluster) => Some(cluster),
            Err((reason, text)) => {
                let problem = format!("{reason}: {path}: {text}");
                self.compiler.remarks(key(self.object)).problem(problem);
                None
            }
        }
    }

    fn resolve(&mut self, backend: &BackendRef) -> Result<String, (&'static str, String)> {
        let service = self.service(backend)?;
        let wanted = backend.port.unwrap_or(self.place.port);
        let port = service.ports.iter().find(|p| p.number == wanted);
        let port = port.ok_or_else(|| {
            let what = format!("service {} has no port {wanted}", service.key);
            ("BackendNotFound", what)
        })?;
        let at = (self.compiler.world, self.place);
        Ok(self.compiler.clusters.need(at, service, *port, ""))
    }
}

impl<'t, 'a> One<'_, 't, 'a> {
    /// The service a backend means: a Service, or any service by its hostname.
    fn service(&self, backend: &BackendRef) -> Result<&'t ServiceFact<'a>, (&'static str, String)> {
        let (own, _) = name_of(&self.object.metadata);
        let name = backend.name.as_str();
        let kind = backend.kind.as_deref().unwrap_or("Service");
        let hosts = &self.compiler.hosts;
        let missing = |what: String| ("BackendNotFound", format!("{what} does not exist"));
        match (backend.group.as_deref().unwrap_or(""), kind) {
            ("" | "core", "Service") => {
                let namespace = backend.namespace.as_deref().unwrap_or(own);
                let kind = self.object.spec.written_as.kind();
                let from = ("gateway.networking.k8s.io", kind.as_str(), own);
                let to = ("", "Service", namespace, name);
                if namespace != own && !grants::permits(self.compiler.world, from, to) {
                    let what = format!("no ReferenceGrant in namespace {namespace} allows it");
                    return Err(("RefNotPermitted", what));
                }
                let found = hosts.named(namespace, name);
                found.ok_or_else(|| missing(format!("service {namespace}/{name}")))
            }
            (ISTIO, "Hostname") => {
                let found = hosts.service(name, own);
                found.ok_or_else(|| missing(format!("service of host {name}")))
            }
            _ => Err(("InvalidKind", format!("{kind} is not a Service"))),
        }
    }
}
