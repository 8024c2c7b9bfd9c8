//! Names of objects that do not exist.

use ambit_api::labels;
use ambit_crds::gateway::HttpRouteSpec;
use ambit_crds::istio::{AuthorizationPolicySpec, Destination, VirtualServiceSpec};
use ambit_crds::{Kind, Object, ObjectKey};

use super::Finding;
use super::messages::REFERENCE;
use super::world::{Host, World};

pub(super) fn check(world: &World, found: &mut Vec<Finding>) {
    for (key, object) in world.objects() {
        waypoint(world, key, object, found);
        match object {
            Object::VirtualService(o) => virtual_service(world, key, &o.spec, found),
            Object::HttpRoute(o) => http_route(world, key, &o.spec, found),
            Object::GrpcRoute(o) => http_route(world, key, &o.route.spec, found),
            Object::AuthorizationPolicy(o) => policy(world, key, &o.spec, found),
            _ => {}
        }
    }
}

fn missing(key: &ObjectKey, what: &str, name: &str, field: String) -> Finding {
    Finding::new(
        &REFERENCE,
        key,
        format!("referenced {what} not found: {name:?}"),
    )
    .field(field)
}

/// The waypoint that an object's own labels name.
fn waypoint(world: &World, key: &ObjectKey, object: &Object, found: &mut Vec<Finding>) {
    if !matches!(
        key.kind,
        Kind::Namespace | Kind::Service | Kind::Pod | Kind::ServiceEntry
    ) {
        return;
    }
    let own = object.labels();
    let Some(name) = own.get(labels::USE_WAYPOINT).filter(|name| *name != "none") else {
        return;
    };
    let home = match key.kind {
        Kind::Namespace => &key.name,
        _ => &key.namespace,
    };
    let place = own
        .get(labels::USE_WAYPOINT_NAMESPACE)
        .map_or(&**home, String::as_str);
    if !world.has(Kind::Gateway, place, name) {
        let field = format!("metadata.labels.{}", labels::USE_WAYPOINT);
        found.push(
            missing(key, "waypoint", &format!("{place}/{name}"), field)
                .fix(format!("ambit waypoint apply -n {place} --name {name}")),
        );
    }
}

fn virtual_service(
    world: &World,
    key: &ObjectKey,
    spec: &VirtualServiceSpec,
    found: &mut Vec<Finding>,
) {
    for (i, gateway) in spec
        .gateways
        .iter()
        .enumerate()
        .filter(|(_, g)| *g != "mesh")
    {
        let (namespace, name) = gateway.split_once('/').unwrap_or((&key.namespace, gateway));
        if !world.has(Kind::IstioGateway, namespace, name) {
            found.push(missing(
                key,
                "gateway",
                gateway,
                format!("spec.gateways[{i}]"),
            ));
        }
    }
    for (i, http) in spec.http.iter().enumerate() {
        let routes = http.route.iter().enumerate().filter_map(|(j, route)| {
            Some((
                format!("spec.http[{i}].route[{j}].destination"),
                route.destination.as_ref()?,
            ))
        });
        let mirror = http
            .mirror
            .iter()
            .map(|m| (format!("spec.http[{i}].mirror"), m));
        let mirrors = http.mirrors.iter().enumerate().filter_map(|(j, mirror)| {
            Some((
                format!("spec.http[{i}].mirrors[{j}].destination"),
                mirror.destination.as_ref()?,
            ))
        });
        for (path, to) in routes.chain(mirror).chain(mirrors) {
            destination(world, key, to, &path, found);
        }
    }
}

fn destination(
    world: &World,
    key: &ObjectKey,
    to: &Destination,
    path: &str,
    found: &mut Vec<Finding>,
) {
    match world.host(&to.host, &key.namespace) {
        Host::Nothing => {
            found.push(missing(key, "host", &to.host, format!("{path}.host")));
            return;
        }
        Host::Service(service) => {
            let ports = service.spec.as_ref().and_then(|s| s.ports.as_ref());
            if let Some(port) = &to.port
                && !ports
                    .into_iter()
                    .flatten()
                    .any(|p| p.port == i32::from(port.number))
            {
                let name = format!("{}:{}", to.host, port.number);
                found.push(missing(key, "port", &name, format!("{path}.port.number")));
            }
        }
        Host::Entry | Host::Outside => {}
    }
    if to.subset.is_empty() {
        return;
    }
    let has_subset = world.objects().any(|(rule, object)| match object {
        Object::DestinationRule(o) => {
            let full = |host: &str, home: &str| match super::world::in_cluster(host, home) {
                Some((name, namespace)) => format!("{name}.{namespace}"),
                None => host.to_owned(),
            };
            let same = full(&o.spec.host, &rule.namespace) == full(&to.host, &key.namespace);
            same && o.spec.subsets.iter().any(|s| s.name == to.subset)
        }
        _ => false,
    });
    if !has_subset {
        let name = format!("{}+{}", to.host, to.subset);
        found.push(
            missing(
                key,
                "host+subset in destinationrule",
                &name,
                format!("{path}.subset"),
            )
            .fix("add the subset to a DestinationRule of the host"),
        );
    }
}

fn http_route(world: &World, key: &ObjectKey, spec: &HttpRouteSpec, found: &mut Vec<Finding>) {
    for (i, parent) in spec.parent_refs.iter().enumerate() {
        let namespace = parent.namespace.as_deref().unwrap_or(&key.namespace);
        let kind = parent.kind.as_deref().unwrap_or("Gateway");
        let known = match kind {
            "Gateway" => Kind::Gateway,
            "Service" => Kind::Service,
            "ServiceEntry" => Kind::ServiceEntry,
            _ => continue,
        };
        if !world.has(known, namespace, &parent.name) {
            let name = format!("{namespace}/{}", parent.name);
            found.push(missing(key, kind, &name, format!("spec.parentRefs[{i}]")));
        }
    }
    for (i, rule) in spec.rules.iter().enumerate() {
        for (j, backend) in rule.backend_refs.iter().enumerate() {
            let to = backend;
            if to.kind.as_deref().unwrap_or("Service") != "Service" {
                continue;
            }
            let namespace = to.namespace.as_deref().unwrap_or(&key.namespace);
            let field = format!("spec.rules[{i}].backendRefs[{j}]");
            let name = format!("{namespace}/{}", to.name);
            match world.service(namespace, &to.name) {
                None => found.push(missing(key, "Service", &name, field)),
                Some(service) => {
                    let ports = service.spec.as_ref().and_then(|s| s.ports.as_ref());
                    if let Some(port) = to.port
                        && !ports
                            .into_iter()
                            .flatten()
                            .any(|p| p.port == i32::from(port))
                    {
                        let name = format!("{name}:{port}");
                        found.push(missing(key, "port", &name, format!("{field}.port")));
                    }
                }
            }
        }
    }
}

fn policy(
    world: &World,
    key: &ObjectKey,
    spec: &AuthorizationPolicySpec,
    found: &mut Vec<Finding>,
) {
    for (i, target) in spec.target_refs.iter().chain(&spec.target_ref).enumerate() {
        let kind = match target.kind.as_str() {
            "Service" => Kind::Service,
            "ServiceEntry" => Kind::ServiceEntry,
            "Gateway" => Kind::Gateway,
            _ => continue,
        };
        if !world.has(kind, &key.namespace, &target.name) {
            let name = format!("{}/{}", key.namespace, target.name);
            found.push(missing(
                key,
                &target.kind,
                &name,
                format!("spec.targetRefs[{i}]"),
            ));
        }
    }
}
