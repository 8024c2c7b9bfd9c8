//! Statuses that say no. The controller has seen more than a look at the objects shows.

use ambit_crds::{Object, ObjectKey};
use serde_json::Value;

use super::Finding;
use super::messages::CONDITION;
use super::world::World;

/// Conditions for which `False` is good, or says nothing.
const FINE: [&str; 3] = [
    "Conflicted",
    "OverlappingTLSConfig",
    "istio.io/VisibilityApplied",
];

/// Conditions for which `True` is what stands in the way.
const MISSING: [&str; 1] = ["istio.io/WaypointMissing"];

pub(super) fn check(world: &World, found: &mut Vec<Finding>) {
    for (key, object) in world.objects() {
        let mut conditions = Vec::new();
        match object {
            Object::Gateway(o) => {
                for condition in o.status.iter().flat_map(|s| &s.conditions) {
                    conditions.push(("status.conditions".to_owned(), condition.clone()));
                }
            }
            Object::HttpRoute(o) => of_parents(o.status.as_ref(), &mut conditions),
            Object::GrpcRoute(o) => of_parents(o.route.status.as_ref(), &mut conditions),
            Object::IstioGateway(o) => plain(o.status.as_ref(), &mut conditions),
            Object::VirtualService(o) => plain(o.status.as_ref(), &mut conditions),
            Object::DestinationRule(o) => plain(o.status.as_ref(), &mut conditions),
            Object::AuthorizationPolicy(o) => plain(o.status.as_ref(), &mut conditions),
            Object::PeerAuthentication(o) => plain(o.status.as_ref(), &mut conditions),
            Object::ServiceEntry(o) => plain(o.status.as_ref(), &mut conditions),
            Object::WorkloadEntry(o) => plain(o.status.as_ref(), &mut conditions),
            Object::Service(o) => {
                let all = o.status.iter().flat_map(|s| s.conditions.iter().flatten());
                for condition in all {
                    if let Ok(condition) = serde_json::to_value(condition) {
                        conditions.push(("status.conditions".to_owned(), condition));
                    }
                }
            }
            // The status of one that nothing acts on says what is found without it.
            _ => {}
        }
        found.extend(
            conditions
                .iter()
                .filter_map(|(path, c)| negative(key, path, c)),
        );
    }
}

fn plain(status: Option<&Value>, out: &mut Vec<(String, Value)>) {
    let conditions = status.and_then(|s| s["conditions"].as_array());
    for condition in conditions.into_iter().flatten() {
        out.push(("status.conditions".to_owned(), condition.clone()));
    }
}

fn of_parents(status: Option<&Value>, out: &mut Vec<(String, Value)>) {
    let parents = status.and_then(|s| s["parents"].as_array());
    for (i, parent) in parents.into_iter().flatten().enumerate() {
        for condition in parent["conditions"].as_array().into_iter().flatten() {
            out.push((format!("status.parents[{i}].conditions"), condition.clone()));
        }
    }
}

fn negative(key: &ObjectKey, path: &str, condition: &Value) -> Option<Finding> {
    let text = |key: &str| condition[key].as_str().unwrap_or_default();
    let kind = text("type");
    let status = match MISSING.contains(&kind) {
        true => "True",
        false => "False",
    };
    if text("status") != status || FINE.contains(&kind) {
        return None;
    }
    let said = format!(
        "a condition with a negative status is present: type={kind}, reason={}, message={}",
        text("reason"),
        text("message")
    );
    Some(Finding::new(&CONDITION, key, said).field(path))
}
