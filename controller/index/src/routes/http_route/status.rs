//! `HTTPRoute.status.parents[]`: one entry per parentRef to a Service or ServiceEntry, or to a
//! Gateway of ours.

use super::super::{Compiler, ingress};
use super::{ISTIO, is_entry, is_service, key};
use crate::out::Out;
use crate::statuses::Condition;
use crate::world::name_of;
use ambit_crds::gateway::{HttpRouteSpec, ParentRef};
use ambit_crds::{CONTROLLER_NAME, Resource};
use serde_json::{Value, json};

/// Whether a waypoint runs the route (Istio's condition; always True upstream).
const RESOLVED_WAYPOINTS: &str = "istio.io/ResolvedWaypoints";

/// Tells every HTTPRoute what became of it.
pub(crate) fn report(compiler: &Compiler<'_, '_>, out: &mut Out) {
    for object in &compiler.world.http_routes {
        let parents: Vec<Value> = object
            .spec
            .parent_refs
            .iter()
            .filter_map(|parent| {
                if is_service(parent) || is_entry(parent) {
                    Some(of_service(compiler, object, parent))
                } else if ingress::is_gateway(parent) {
                    of_gateway(compiler, object, parent)
                } else {
                    None
                }
            })
            .collect();
        if !parents.is_empty() {
            out.statuses
                .field(key(object), "parents", Value::Array(parents));
        }
    }
}

/// `None`: the Gateway is another controller's.
fn of_gateway(
    compiler: &Compiler<'_, '_>,
    object: &Resource<HttpRouteSpec>,
    parent: &ParentRef,
) -> Option<Value> {
    let (own, _) = name_of(&object.metadata);
    let namespace = parent.namespace.as_deref().unwrap_or(own);
    let accepted = match compiler.gateways.get(&(namespace, parent.name.as_str())) {
        None => {
            let why = format!("Gateway {namespace}/{} does not exist", parent.name);
            (false, "NoMatchingParent", why)
        }
        Some(gateway) if !gateway.is_ours() => return None,
        Some(gateway) => match ingress::attach(compiler.world, gateway, object, parent) {
            Ok(_) => (true, "Accepted", "Route was valid".to_owned()),
            Err((reason, why)) => (false, reason, why),
        },
    };
    let mut reference = json!({
        "group": "gateway.networking.k8s.io",
        "kind": "Gateway",
        "name": parent.name,
    });
    if let Some(namespace) = &parent.namespace {
        reference["namespace"] = json!(namespace);
    }
    if let Some(section) = &parent.section_name {
        reference["sectionName"] = json!(section);
    }
    if let Some(port) = parent.port {
        reference["port"] = json!(port);
    }
    Some(json!({
        "parentRef": reference,
        "controllerName": CONTROLLER_NAME,
        "conditions": [
            condition("Accepted", accepted),
            condition("ResolvedRefs", resolved(compiler, object)),
        ],
    }))
}

fn condition(kind: &'static str, (met, reason, message): Said) -> Value {
    Condition::new(kind, met, reason, message).json()
}

/// Whether a condition is met, its reason and its message.
type Said = (bool, &'static str, String);

/// Whether every backend means something.
fn resolved(compiler: &Compiler<'_, '_>, object: &Resource<HttpRouteSpec>) -> Said {
    let remarks = compiler.remarks.get(&key(object));
    let problems = remarks.map(|r| r.problems.as_slice()).unwrap_or_default();
    match problems.first() {
        None => (true, "ResolvedRefs", "All references resolved".to_owned()),
        Some(first) => {
            let reasons = ["InvalidKind", "RefNotPermitted", "BackendNotFound"];
            let reason = reasons.into_iter().find(|r| first.starts_with(r));
            (
                false,
                reason.unwrap_or("BackendNotFound"),
                problems.join("; "),
            )
        }
    }
}

fn of_service(
    compiler: &Compiler<'_, '_>,
    object: &Resource<HttpRouteSpec>,
    parent: &ParentRef,
) -> Value {
    let (own, _) = name_of(&object.metadata);
    let namespace = parent.namespace.as_deref().unwrap_or(own);
    let (group, kind, service) = match is_entry(parent) {
        true => {
            let found = compiler.hosts.entry(namespace, &parent.name);
            (ISTIO, "ServiceEntry", found)
        }
        false => ("", "Service", compiler.hosts.named(namespace, &parent.name)),
    };
    let accepted = match service {
        None => (
            false,
            "NoMatchingParent",
            format!("{kind} {namespace}/{} does not exist", parent.name),
        ),
        Some(_) if namespace != own => (
            false,
            "NotAllowedByListeners",
            "a route of another namespace than the service's is not run by its waypoint".to_owned(),
        ),
        Some(service)
            if parent
                .port
                .is_some_and(|port| service.ports.iter().all(|p| p.number != port)) =>
        {
            (
                false,
                "NoMatchingParent",
                "the service has no such port".to_owned(),
            )
        }
        Some(_) => (true, "Accepted", "Route was valid".to_owned()),
    };
    let remarks = compiler.remarks.get(&key(object));
    let waypoint = match remarks.is_some_and(|r| r.used) {
        true => (
            true,
            "ResolvedWaypoints",
            "a waypoint runs the route".to_owned(),
        ),
        false => (
            false,
            "MissingUseWaypointLabel",
            "no waypoint serves the service; the route has no effect".to_owned(),
        ),
    };
    let mut reference = json!({"group": group, "kind": kind, "name": parent.name});
    if let Some(namespace) = &parent.namespace {
        reference["namespace"] = json!(namespace);
    }
    if let Some(port) = parent.port {
        reference["port"] = json!(port);
    }
    json!({
        "parentRef": reference,
        "controllerName": CONTROLLER_NAME,
        "conditions": [
            condition("Accepted", accepted),
            condition("ResolvedRefs", resolved(compiler, object)),
            condition(RESOLVED_WAYPOINTS, waypoint),
        ],
    })
}
