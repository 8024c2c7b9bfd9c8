//! Routes: hosts that several claim, hosts nobody serves, subsets of nobody, routes that nobody runs.

use std::collections::BTreeMap;

use ambit_crds::gateway::HttpRouteSpec;
use ambit_crds::istio::{DestinationRuleSpec, VirtualServiceSpec};
use ambit_crds::{Kind, Object, ObjectKey};
use k8s_openapi::api::core::v1::Service;

use super::Finding;
use super::messages::{EMPTY_SUBSET, HOST_NOT_SERVED, NO_IMPACT, SAME_HOST, UNKNOWN_HOST};
use super::world::{Host, World, covers, in_cluster};

pub(super) fn check(world: &World, found: &mut Vec<Finding>) {
    let mut hosts: BTreeMap<String, Vec<&ObjectKey>> = BTreeMap::new();
    for (key, object) in world.objects() {
        match object {
            Object::VirtualService(o) => {
                if in_mesh(&o.spec) {
                    for host in &o.spec.hosts {
                        let host = match in_cluster(host, &key.namespace) {
                            Some((name, namespace)) => format!("{name}.{namespace}"),
                            None => host.clone(),
                        };
                        hosts.entry(host).or_default().push(key);
                    }
                    effect(world, key, &o.spec, found);
                }
                served(world, key, &o.spec, found);
            }
            Object::DestinationRule(o) => destination_rule(world, key, &o.spec, found),
            Object::HttpRoute(o) => http_route(world, key, &o.spec, found),
            Object::GrpcRoute(o) => http_route(world, key, &o.route.spec, found),
            _ => {}
        }
    }
    for (host, keys) in hosts.iter().filter(|(_, keys)| keys.len() > 1) {
        let names: Vec<String> = keys
            .iter()
            .map(|k| format!("{}/{}", k.namespace, k.name))
            .collect();
        let names = names.join(", ");
        let text = format!(
            "the VirtualServices {names} define the same host {host}; their routes are joined, the oldest object's first"
        );
        found.extend(keys.iter().map(|key| {
            Finding::new(&SAME_HOST, key, text.clone())
                .field("spec.hosts")
                .fix("merge them where the order matters")
        }));
    }
}

fn http_route(world: &World, key: &ObjectKey, spec: &HttpRouteSpec, found: &mut Vec<Finding>) {
    for (i, parent) in spec.parent_refs.iter().enumerate() {
        let namespace = parent.namespace.as_deref().unwrap_or(&key.namespace);
        if parent.kind.as_deref() == Some("Service")
            && let Some(service) = world.service(namespace, &parent.name)
        {
            no_waypoint(world, key, service, &format!("spec.parentRefs[{i}]"), found);
        }
    }
}

fn in_mesh(spec: &VirtualServiceSpec) -> bool {
    spec.gateways.is_empty() || spec.gateways.iter().any(|g| g == "mesh")
}

/// Routes in the mesh run at the waypoint of their host, and only there.
fn effect(world: &World, key: &ObjectKey, spec: &VirtualServiceSpec, found: &mut Vec<Finding>) {
    for (i, host) in spec.hosts.iter().enumerate() {
        if let Host::Service(service) = world.host(host, &key.namespace) {
            no_waypoint(world, key, service, &format!("spec.hosts[{i}]"), found);
        }
    }
}

fn no_waypoint(
    world: &World,
    key: &ObjectKey,
    service: &Service,
    field: &str,
    found: &mut Vec<Finding>,
) {
    if world.waypoint(service).is_some() {
        return;
    }
    let name = service.metadata.name.as_deref().unwrap_or_default();
    let namespace = service.metadata.namespace.as_deref().unwrap_or_default();
    let text = format!(
        "the {} has no impact in the mesh: service {namespace}/{name} has no waypoint",
        key.kind
    );
    found.push(
        Finding::new(&NO_IMPACT, key, text)
            .field(field)
            .fix(format!(
                "ambit waypoint apply -n {namespace} --enroll-namespace"
            )),
    );
}

/// Each host must be one of some server of some named gateway.
fn served(world: &World, key: &ObjectKey, spec: &VirtualServiceSpec, found: &mut Vec<Finding>) {
    for (i, gateway) in spec
        .gateways
        .iter()
        .enumerate()
        .filter(|(_, g)| *g != "mesh")
    {
        let (namespace, name) = gateway.split_once('/').unwrap_or((&key.namespace, gateway));
        let Some(Object::IstioGateway(o)) = world.get(Kind::IstioGateway, namespace, name) else {
            continue;
        };
        let admits = |entry: &str, host: &str| {
            let (home, pattern) = entry.split_once('/').unwrap_or(("*", entry));
            let home = match home {
                "." => namespace,
                other => other,
            };
            (home == "*" || home == &*key.namespace)
                && (pattern == "*" || covers(pattern, host) || covers(host, pattern))
        };
        let all = || o.spec.servers.iter().flat_map(|s| &s.hosts);
        let lost: Vec<&str> = spec
            .hosts
            .iter()
            .map(String::as_str)
            .filter(|host| !all().any(|entry| admits(entry, host)))
            .collect();
        if !lost.is_empty() {
            let text = format!(
                "gateway {gateway} serves none of the hosts {}",
                lost.join(", ")
            );
            found.push(
                Finding::new(&HOST_NOT_SERVED, key, text)
                    .field(format!("spec.gateways[{i}]"))
                    .fix("add the hosts to a server of the gateway"),
            );
        }
    }
}

fn destination_rule(
    world: &World,
    key: &ObjectKey,
    spec: &DestinationRuleSpec,
    found: &mut Vec<Finding>,
) {
    let service = match world.host(&spec.host, &key.namespace) {
        Host::Service(service) => service,
        Host::Nothing => {
            let text = format!("the host {} is no service of the mesh", spec.host);
            found.push(Finding::new(&UNKNOWN_HOST, key, text).field("spec.host"));
            return;
        }
        Host::Entry | Host::Outside => return,
    };
    let selector = service.spec.as_ref().and_then(|s| s.selector.as_ref());
    let namespace = service.metadata.namespace.as_deref();
    let Some(selector) = selector.filter(|_| world.knows_workloads()) else {
        return;
    };
    for (i, subset) in spec.subsets.iter().enumerate() {
        let mut labels = selector.clone();
        labels.extend(subset.labels.clone());
        if world.selected(namespace, &labels).next().is_none() {
            let text = format!(
                "subset {} of {} takes no pod; requests to it are answered 503",
                subset.name, spec.host
            );
            found.push(
                Finding::new(&EMPTY_SUBSET, key, text).field(format!("spec.subsets[{i}].labels")),
            );
        }
    }
}
