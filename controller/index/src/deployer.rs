//! What runs a gateway of ours: ServiceAccount, Service and Deployment, what scales it, and the Gateway's own
//! status.
//! In: gateways, their overlays and pods, nodes, Services. Out: objects and statuses to write.
//! Without a cluster nobody schedules or assigns: then a Pod takes the Deployment's place. A Service
//! keeps the address it has. What has wrong overlays or names stays as it is.
//! Source: Istio's gateway deployer; Gateway API `Gateway.status`.

mod addresses;
mod deployment;
mod objects;
mod orphans;
mod parameters;
mod placement;
mod programmed;
mod scaling;
mod status;

use crate::config::WaypointForm;
use crate::gateways::GatewayFact;
use crate::gateways::naming::{is_generated, is_live, standing};
use crate::out::Out;
use crate::overlay::Overlaid;
use crate::pods;
use crate::statuses::Condition;
use crate::world::{Name, World};
use addresses::Pools;
use ambit_crds::{Kind, ObjectKey};
use objects::Names;
use parameters::Overlays;
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Plans every gateway of ours.
pub(crate) fn derive(
    world: &World<'_>,
    gateways: &BTreeMap<Name<'_>, GatewayFact<'_>>,
    out: &mut Out,
) {
    let (mut pools, mut load) = match world.config.waypoints {
        WaypointForm::Pods => (Pools::of(world), placement::load(world)),
        // Kubernetes assigns addresses and places pods itself.
        WaypointForm::Deployments { .. } => (Pools::default(), BTreeMap::new()),
    };
    for gateway in gateways.values().filter(|g| g.is_taken()) {
        leave(world, gateway, out);
    }
    for gateway in gateways.values().filter(|g| g.is_ours()) {
        if !world.runs(&gateway.object.metadata) {
            // Another revision's: it is served while its pods ask here, and stays as it is.
            leave(world, gateway, out);
            continue;
        }
        let front = Front::of(world, gateway, &mut pools);
        let made = documents(world, gateway, &front);
        let placed = match &made {
            Ok(_) if world.config.waypoints == WaypointForm::Pods => {
                placement::pods(world, gateway, &mut load, out)
            }
            _ if world.config.waypoint_image.is_empty() => Placed::NoImage,
            _ => Placed::Yes,
        };
        let fault = match made {
            Ok(made) => {
                plan(made, gateway, out);
                None
            }
            Err(fault) => {
                leave(world, gateway, out);
                Some(fault)
            }
        };
        status(world, gateway, (&front.ips, placed), fault, out);
    }
    orphans::withdraw(world, gateways, out);
}

/// Whether a pod of the gateway has a place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Placed {
    Yes,
    NoNode,
    NoImage,
}

/// The Service in front of a gateway.
struct Front {
    /// Addresses that it has or gets here.
    ips: Vec<IpAddr>,
    /// Those to write down: none where Kubernetes assigns them.
    assigned: Vec<IpAddr>,
    /// It is made here: not the user's own, and there is an address for it.
    is_made: bool,
}

impl Front {
    fn of(world: &World<'_>, gateway: &GatewayFact<'_>, pools: &mut Pools) -> Self {
        let existing = world
            .services
            .get(&(gateway.name.0, gateway.generated.as_str()));
        let has = existing
            .map(|service| addresses::of_service(service))
            .unwrap_or_default();
        // The user's own Service of that name stands in front of the pods.
        let users = existing.is_some_and(|s| !is_generated(&s.metadata));
        let assigns = world.config.waypoints == WaypointForm::Pods && gateway.fault.is_none();
        if users || !assigns {
            return Self {
                ips: has,
                assigned: Vec::new(),
                is_made: !users,
            };
        }
        let assigned = pools.take(&has, &gateway.key).unwrap_or_default();
        Self {
            is_made: !assigned.is_empty(),
            ips: assigned.clone(),
            assigned,
        }
    }
}

/// An object to have, or, without a document, not to have.
type Made = Vec<(Kind, Option<Value>)>;

/// Everything that runs a gateway, with its overlays.
fn documents(world: &World<'_>, gateway: &GatewayFact<'_>, front: &Front) -> Result<Made, String> {
    if let Some(fault) = &gateway.fault {
        return Err(fault.clone());
    }
    let overlays = Overlays::of(world, gateway)?;
    let names = match world.config.waypoints {
        WaypointForm::Pods => Names::of(gateway),
        WaypointForm::Deployments { .. } => Names::of(gateway).owned(gateway),
    };
    let account = objects::service_account(&names);
    let account = overlays.over(Overlaid::ServiceAccount, account)?;
    let mut made = Vec::new();
    // The user's own account of that name is the one to run with.
    let there = world.account((gateway.name.0, &gateway.account));
    if there.is_none_or(|there| is_generated(&there.metadata)) {
        made.push((Kind::ServiceAccount, Some(account)));
    }
    let service = objects::service(&names, gateway, &front.assigned)?;
    let service = overlays.over(Overlaid::Service, service)?;
    if front.is_made {
        made.push((Kind::Service, Some(service)));
    }
    let control_plane = match &world.config.waypoints {
        WaypointForm::Pods => "",
        WaypointForm::Deployments { control_plane } => control_plane,
    };
    let running = deployment::document(world, gateway, control_plane);
    let mut running = overlays.over(Overlaid::Deployment, running)?;
    deployment::settle(&mut running);
    let autoscaler = scaling::autoscaler(&names, &overlays)?;
    if autoscaler.is_some() {
        deployment::leave_replicas(&mut running);
    }
    let least = scaling::least_pods(&running, autoscaler.as_ref());
    let budget = scaling::budget(&names, &overlays, least)?;
    // Where Pods take its place there is nothing to scale; overlays are judged all the same.
    if world.config.waypoints != WaypointForm::Pods && !world.config.waypoint_image.is_empty() {
        made.extend([
            (deployment::kind(), Some(running)),
            (scaling::autoscaler_kind(), autoscaler),
            (scaling::budget_kind(), budget),
        ]);
    }
    Ok(made)
}

fn plan(made: Made, gateway: &GatewayFact<'_>, out: &mut Out) {
    for (kind, document) in made {
        let name = match kind {
            Kind::ServiceAccount => &gateway.account,
            _ => &gateway.generated,
        };
        let key = ObjectKey::new(kind, gateway.name.0, name);
        match document {
            Some(document) => out.wanted.object(key, document),
            None => out.wanted.absent(key),
        }
    }
}

/// Kinds of the objects that share a gateway's name.
fn named_kinds(world: &World<'_>) -> Vec<Kind> {
    match world.config.waypoints {
        WaypointForm::Pods => vec![Kind::Service],
        WaypointForm::Deployments { .. } => vec![
            Kind::Service,
            deployment::kind(),
            scaling::autoscaler_kind(),
            scaling::budget_kind(),
        ],
    }
}

/// Leaves everything as it is, under whatever name.
fn leave(world: &World<'_>, gateway: &GatewayFact<'_>, out: &mut Out) {
    let namespace = gateway.name.0;
    let mut names = standing(world, gateway.name);
    if gateway.fault.is_none() && !gateway.generated.is_empty() {
        names.insert(gateway.generated.clone());
        let account = ObjectKey::new(Kind::ServiceAccount, namespace, &gateway.account);
        out.wanted.spare(account);
    }
    for name in names {
        for kind in named_kinds(world) {
            out.wanted.spare(ObjectKey::new(kind, namespace, &name));
        }
    }
    leave_accounts(world, gateway, out);
    if world.config.waypoints == WaypointForm::Pods {
        placement::leave(world, gateway, out);
    }
}

/// Leaves the accounts that pods of a gateway have.
fn leave_accounts(world: &World<'_>, gateway: &GatewayFact<'_>, out: &mut Out) {
    let pods = world.gateway_pods(gateway.name).filter(|pod| is_live(pod));
    for spec in pods.filter_map(|pod| pod.spec.as_ref()) {
        let account = pods::account(spec);
        let key = ObjectKey::new(Kind::ServiceAccount, gateway.name.0, account);
        out.wanted.spare(key);
    }
}

fn status(
    world: &World<'_>,
    gateway: &GatewayFact<'_>,
    (ips, placed): (&[IpAddr], Placed),
    fault: Option<String>,
    out: &mut Out,
) {
    let (namespace, name) = gateway.name;
    let key = ObjectKey::new(Kind::Gateway, namespace, name);
    let accepted = match fault {
        Some(fault) => Condition::new("Accepted", false, "InvalidParameters", fault),
        None => status::accepted(gateway),
    };
    let programmed = programmed::condition(world, gateway, ips, placed);
    out.statuses.condition(key.clone(), accepted);
    out.statuses.condition(key.clone(), programmed.clone());
    let addresses = addresses::published(world, gateway, ips);
    if let Some(addresses) = addresses.filter(|_| gateway.address.is_some()) {
        let addresses = addresses.iter().map(addresses::Published::json).collect();
        out.statuses.field(key.clone(), "addresses", addresses);
    }
    let listeners = status::listeners(world, gateway, &programmed);
    if !listeners.is_empty() {
        out.statuses
            .field(key, "listeners", Value::Array(listeners));
    }
}

#[cfg(test)]
mod tests;
