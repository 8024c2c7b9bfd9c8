//! `HTTPRoute.status.parents[]`: one entry per parentRef to a Service.

use super::super::Compiler;
use super::{is_service, key};
use crate::out::Out;
use crate::statuses::Condition;
use crate::world::name_of;
use ambit_crds::Resource;
use ambit_crds::gateway::{HttpRouteSpec, ParentRef};
use serde_json::{Value, json};

/// Who wrote an entry.
const CONTROLLER: &str = "ambit.io/gateway-controller";
/// Whether a waypoint runs the route (Istio's condition; always True upstream).
const RESOLVED_WAYPOINTS: &str = "istio.io/ResolvedWaypoints";

/// Tells every HTTPRoute what became of it.
pub(crate) fn report(compiler: &Compiler<'_, '_>, out: &mut Out) {
    for object in &compiler.world.http_routes {
        let parents: Vec<Value> = object
            .spec
            .parent_refs
            .iter()
            .filter(|parent| is_service(parent))
            .map(|parent| entry(compiler, object, parent))
            .collect();
        if !parents.is_empty() {
            out.statuses
                .field(key(object), "parents", Value::Array(parents));
        }
    }
}

fn entry(
    compiler: &Compiler<'_, '_>,
    object: &Resource<HttpRouteSpec>,
    parent: &ParentRef,
) -> Value {
    let (own, _) = name_of(&object.metadata);
    let namespace = parent.namespace.as_deref().unwrap_or(own);
    let service = compiler.hosts.named(namespace, &parent.name);
    let accepted = match service {
        None => (
            false,
            "NoMatchingParent",
            format!("service {namespace}/{} does not exist", parent.name),
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
    let problems = remarks.map(|r| r.problems.as_slice()).unwrap_or_default();
    let resolved = match problems.first() {
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
    };
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
    let condition = |kind, (met, reason, message): (bool, &'static str, String)| {
        Condition::new(kind, met, reason, message).json()
    };
    let mut reference = json!({"group": "", "kind": "Service", "name": parent.name});
    if let Some(namespace) = &parent.namespace {
        reference["namespace"] = json!(namespace);
    }
    if let Some(port) = parent.port {
        reference["port"] = json!(port);
    }
    json!({
        "parentRef": reference,
        "controllerName": CONTROLLER,
        "conditions": [
            condition("Accepted", accepted),
            condition("ResolvedRefs", resolved),
            condition(RESOLVED_WAYPOINTS, waypoint),
        ],
    })
}
