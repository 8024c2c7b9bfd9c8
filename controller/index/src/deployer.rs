//! What runs a gateway of ours: ServiceAccount, Service and Deployment, what scales it, and the Gateway's own
//! status.
//! In: gateways, their overlays and pods, nodes, Services. Out: objects and statuses to write.
//! Without a cluster nobody schedules or assigns: then a Pod takes the Deployment's place. A Service
//! keeps the address it has. What has wrong overlays stays as it is.
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
use crate::out::Out;
use crate::overlay::Overlaid;
use crate::selector::label;
use crate::statuses::Condition;
use crate::world::{Name, World};
use addresses::Pools;
use ambit_api::labels;
use ambit_crds::{Kind, ObjectKey};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
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
    for gateway in gateways.values().filter(|g| g.is_ours()) {
        let front = Front::of(world, gateway, &mut pools);
        let made = documents(world, gateway, &front);
        let placed = match &made {
            Ok(_) if world.config.waypoints == WaypointForm::Pods => {
                placement::pods(world, gateway, &mut load, out)
            }
            Err(_) if world.config.waypoints == WaypointForm::Pods => {
                placement::leave(world, gateway, out);
                Placed::Yes
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

fn is_generated(meta: &ObjectMeta) -> bool {
    let manager = label(meta.labels.as_ref(), labels::MANAGED);
    matches!(
        manager,
        Some(labels::MANAGED_WAYPOINT | objects::MANAGED_GATEWAY)
    )
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
        if users || world.config.waypoints != WaypointForm::Pods {
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
    let overlays = Overlays::of(world, gateway)?;
    let names = match world.config.waypoints {
        WaypointForm::Pods => Names::of(gateway),
        WaypointForm::Deployments { .. } => Names::of(gateway).owned(gateway),
    };
    let account = objects::service_account(&names);
    let account = overlays.over(Overlaid::ServiceAccount, account)?;
    let mut made = vec![(Kind::ServiceAccount, Some(account))];
    let service = objects::service(&names, gateway, &front.assigned)?;
    let service = overlays.over(Overlaid::Service, service)?;
    if front.is_made {
        made.push((Kind::Service, Some(service)));
    }
    let control_plane = match &world.config.waypoints {
        WaypointForm::Pods => "",
        WaypointForm::Deployments { control_plane } => control_plane,
    };
    let running = deployment::document(world.config, gateway, control_plane);
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
        let key = ObjectKey::new(kind, gateway.name.0, &gateway.generated);
        match document {
            Some(document) => out.wanted.object(key, document),
            None => out.wanted.absent(key),
        }
    }
}

/// Leaves everything as it is.
fn leave(world: &World<'_>, gateway: &GatewayFact<'_>, out: &mut Out) {
    let mut kinds = vec![Kind::ServiceAccount, Kind::Service];
    if world.config.waypoints != WaypointForm::Pods {
        kinds.extend([
            deployment::kind(),
            scaling::autoscaler_kind(),
            scaling::budget_kind(),
        ]);
    }
    for kind in kinds {
        let key = ObjectKey::new(kind, gateway.name.0, &gateway.generated);
        out.wanted.untouched(key);
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
