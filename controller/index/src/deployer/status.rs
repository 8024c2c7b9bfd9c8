//! Parts of `Gateway.status`: whether it is accepted, and its listeners.
//! Source: Gateway API v1 `GatewayStatus`, `ListenerStatus`.

use crate::gateways::GatewayFact;
use crate::gateways::listeners::ListenerFact;
use crate::routes::ingress;
use crate::statuses::Condition;
use crate::world::World;
use ambit_crds::gateway::RouteKind;
use serde_json::{Value, json};

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
    let is_served = fact
        .fault
        .as_ref()
        .is_none_or(|fault| fault.said().0 != "UnsupportedProtocol");
    let kind = |kind: &RouteKind| json!({"group": "gateway.networking.k8s.io", "kind": kind.kind().as_str()});
    let taken = fact.taken.iter().filter(|_| is_served);
    let kinds: Vec<_> = taken.map(kind).collect();
    json!({
        "name": fact.listener.name,
        "attachedRoutes": attached,
        "supportedKinds": kinds,
        "conditions": [accepted.json(), conflicted.json(), resolved.json(), of_port.json()],
    })
}
