//! Parts of `Gateway.status`: addresses and listeners.
//! Source: Gateway API v1 `GatewayStatus`, `ListenerStatus`.

use crate::config::WaypointForm;
use crate::gateways::GatewayFact;
use crate::gateways::listeners::ListenerFact;
use crate::routes::ingress;
use crate::statuses::Condition;
use crate::world::World;
use k8s_openapi::api::core::v1::Service;
use serde_json::{Value, json};
use std::net::IpAddr;

/// Where clients reach it; `None`: nowhere yet, because its load balancer has no address.
pub(super) fn addresses(
    world: &World<'_>,
    gateway: &GatewayFact<'_>,
    service_ip: Option<IpAddr>,
) -> Option<Value> {
    let (namespace, name) = (gateway.name.0, gateway.generated.as_str());
    if world.config.waypoints == WaypointForm::Pods {
        return Some(json!([{"type": "IPAddress", "value": service_ip?.to_string()}]));
    }
    let service = world.services.get(&(namespace, name)).copied();
    if is_load_balancer(service) {
        let given = balancers(service);
        return (!given.is_empty()).then(|| Value::Array(given));
    }
    let hostname = world.config.hostname(namespace, name);
    service_ip.map(|_| json!([{"type": "Hostname", "value": hostname}]))
}

/// Whether it is run: with listeners that take nothing it is as far as the others go.
pub(super) fn accepted(gateway: &GatewayFact<'_>) -> Condition {
    let faults: Vec<String> = gateway
        .listeners
        .iter()
        .filter_map(|fact| {
            let (_, message) = fact.fault.as_ref()?.said();
            Some(format!("listener {}: {message}", fact.listener.name))
        })
        .collect();
    if faults.is_empty() {
        return Condition::new("Accepted", true, "Accepted", "Resource accepted");
    }
    let some = gateway.listeners.iter().any(ListenerFact::is_usable);
    Condition::new("Accepted", some, "ListenersNotValid", faults.join("; "))
}

fn is_load_balancer(service: Option<&Service>) -> bool {
    let spec = service.and_then(|s| s.spec.as_ref());
    spec.is_some_and(|s| s.type_.as_deref() == Some("LoadBalancer"))
}

fn balancers(service: Option<&Service>) -> Vec<Value> {
    let status = service.and_then(|s| s.status.as_ref());
    let ingress = status.and_then(|s| s.load_balancer.as_ref());
    let given = ingress
        .and_then(|l| l.ingress.as_ref())
        .into_iter()
        .flatten();
    given
        .filter_map(|one| match (&one.ip, &one.hostname) {
            (Some(ip), _) => Some(json!({"type": "IPAddress", "value": ip})),
            (None, Some(name)) => Some(json!({"type": "Hostname", "value": name})),
            (None, None) => None,
        })
        .collect()
}

/// One entry per listener.
pub(super) fn listeners(
    world: &World<'_>,
    gateway: &GatewayFact<'_>,
    programmed: &Condition,
) -> Vec<Value> {
    if gateway.is_ingress() {
        let attached = ingress::attached_routes(world, gateway);
        let facts = gateway.listeners.iter().zip(attached);
        return facts
            .map(|(fact, attached)| of_ingress(fact, attached, programmed))
            .collect();
    }
    let fine = |kind| Condition::new(kind, true, kind, "No errors found").json();
    let listeners = gateway.object.spec.listeners.iter();
    listeners
        .map(|listener| {
            json!({
                "name": listener.name,
                "attachedRoutes": 0,
                "supportedKinds": [],
                "conditions": [fine("Accepted"), fine("ResolvedRefs"), programmed.json()],
            })
        })
        .collect()
}

fn of_ingress(fact: &ListenerFact<'_>, attached: usize, programmed: &Condition) -> Value {
    let fine = || "No errors found".to_owned();
    let (accepted, of_port) = match &fact.fault {
        None => (
            Condition::new("Accepted", true, "Accepted", fine()),
            programmed.clone(),
        ),
        Some(fault) => {
            let (reason, message) = fault.said();
            let unusable = Condition::new("Programmed", false, "Invalid", message.as_str());
            (Condition::new("Accepted", false, reason, message), unusable)
        }
    };
    let conflicted = match &fact.fault {
        Some(fault) if fault.said().0 == "HostnameConflict" => {
            let (reason, message) = fault.said();
            Condition::new("Conflicted", true, reason, message)
        }
        _ => Condition::new("Conflicted", false, "NoConflicts", fine()),
    };
    let resolved = match fact.unknown_kinds.as_slice() {
        [] => Condition::new("ResolvedRefs", true, "ResolvedRefs", fine()),
        kinds => {
            let message = format!("routes of kind {} are not supported yet", kinds.join(", "));
            Condition::new("ResolvedRefs", false, "InvalidRouteKinds", message)
        }
    };
    let kind = json!({"group": "gateway.networking.k8s.io", "kind": "HTTPRoute"});
    let kinds = match fact.takes_http_routes {
        true => vec![kind],
        false => Vec::new(),
    };
    json!({
        "name": fact.listener.name,
        "attachedRoutes": attached,
        "supportedKinds": kinds,
        "conditions": [accepted.json(), conflicted.json(), resolved.json(), of_port.json()],
    })
}
