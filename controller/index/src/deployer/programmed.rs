//! The condition `Programmed` of a Gateway: whether it can be used, and if not why not.

use super::Placed;
use super::addresses::{Published, asked, published};
use crate::gateways::{GatewayFact, Role};
use crate::statuses::Condition;
use crate::world::World;
use std::net::IpAddr;

type Said = (bool, &'static str, String);

/// See the module. `ips`: of its Service.
pub(super) fn condition(
    world: &World<'_>,
    gateway: &GatewayFact<'_>,
    ips: &[IpAddr],
    placed: Placed,
) -> Condition {
    let what = match gateway.role {
        Some(Role::Ingress) => "gateway",
        _ => "waypoint",
    };
    let (met, reason, message) = match (gateway.ready, placed) {
        _ if !can_have(gateway) => (
            false,
            "AddressNotUsable",
            format!(
                "spec.addresses may ask for one IPAddress: those of Service {} are used",
                gateway.generated
            ),
        ),
        _ if ips.is_empty() && gateway.fault.is_some() => (
            false,
            "Invalid",
            "nothing runs it: see the condition Accepted".to_owned(),
        ),
        _ if ips.is_empty() => (
            false,
            "AddressNotAssigned",
            format!("no address is left for the Service of the {what}"),
        ),
        (true, _) => reached(world, gateway, ips),
        (_, Placed::NoNode) => (
            false,
            "NoResources",
            format!("there is no Node to run the {what} on"),
        ),
        (_, Placed::NoImage) => (
            false,
            "NoResources",
            "the controller has no image for waypoints".to_owned(),
        ),
        (false, Placed::Yes) => (false, "Pending", format!("no pod of the {what} is ready")),
    };
    Condition::new("Programmed", met, reason, message)
}

/// Whether it asks for no addresses, or for one that a load balancer may give.
fn can_have(gateway: &GatewayFact<'_>) -> bool {
    gateway.object.spec.addresses.is_empty() || asked(gateway).is_some()
}

/// Of a gateway that runs: whether clients find it where it should be.
fn reached(world: &World<'_>, gateway: &GatewayFact<'_>, ips: &[IpAddr]) -> Said {
    let service = &gateway.generated;
    let Some(found) = published(world, gateway, ips) else {
        let message = format!("Service {service} has no address for the outside yet");
        return (false, "AddressNotAssigned", message);
    };
    if let Some(asked) = asked(gateway)
        && !found.contains(&Published::Ip(asked.to_string()))
    {
        let message = format!("Service {service} did not get {asked}");
        return (false, "AddressNotUsable", message);
    }
    let found: Vec<&str> = found.iter().map(Published::text).collect();
    let message = format!("Resource programmed, address {}", found.join(", "));
    (true, "Programmed", message)
}
