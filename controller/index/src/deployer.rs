//! What runs a gateway of ours: ServiceAccount, Service and Deployment, and the Gateway's own status.
//! In: gateways, their pods, nodes, Services. Out: objects and statuses to write.
//! Without a cluster nobody schedules or assigns: then a Pod takes the Deployment's place. A Service
//! keeps the address it has; a Pod keeps its node while that exists. A Pod that must be replaced stays
//! until its successor is ready.
//! Source: Istio's gateway deployer; Gateway API `Gateway.status`.

mod deployment;
mod objects;
mod status;

use crate::address_pool::AddressPool;
use crate::config::WaypointForm;
use crate::gateways::{GatewayFact, Role};
use crate::out::Out;
use crate::pods;
use crate::selector::label;
use crate::statuses::Condition;
use crate::world::{Name, World, name_of};
use ambit_api::labels;
use ambit_crds::{Kind, ObjectKey};
use k8s_openapi::api::core::v1::{Node, Pod, Service};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use objects::Names;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Plans every gateway of ours.
pub(crate) fn derive(
    world: &World<'_>,
    gateways: &BTreeMap<Name<'_>, GatewayFact<'_>>,
    out: &mut Out,
) {
    let mut pools = pools(world);
    let mut load = load(world);
    for gateway in gateways.values().filter(|g| g.is_ours()) {
        let service_ip = service(world, gateway, &mut pools, out);
        let placed = match &world.config.waypoints {
            WaypointForm::Pods => pods(world, gateway, &mut load, out),
            WaypointForm::Deployments { control_plane } => {
                deployment(world, gateway, control_plane, out)
            }
        };
        status(world, gateway, service_ip, placed, out);
    }
    withdraw_orphans(world, gateways, out);
}

fn is_generated(meta: &ObjectMeta) -> bool {
    let manager = label(meta.labels.as_ref(), labels::MANAGED);
    matches!(
        manager,
        Some(labels::MANAGED_WAYPOINT | objects::MANAGED_GATEWAY)
    )
}

/// A pool for each family that pods have, IPv4 first; IPv4 alone where no Node says (`spec.podCIDRs`).
fn pools(world: &World<'_>) -> Vec<AddressPool> {
    let ranges = |node: &&Node| {
        let spec = node.spec.clone().unwrap_or_default();
        let many = spec.pod_cidrs.unwrap_or_default().into_iter();
        many.chain(spec.pod_cidr).collect::<Vec<_>>()
    };
    let ranges: Vec<String> = world.nodes.values().flat_map(ranges).collect();
    let six = ranges.iter().any(|range| range.contains(':'));
    let four = !six || ranges.iter().any(|range| !range.contains(':'));
    let taken = taken(world);
    let (block, block_v6) = (world.config.service_block, world.config.service_block_v6);
    let v4 = four.then(|| AddressPool::new((block.0.into(), block.1), taken.clone()));
    let v6 = six.then(|| AddressPool::new((block_v6.0.into(), block_v6.1), taken));
    v4.into_iter().chain(v6).collect()
}

/// Addresses that Services have.
fn taken(world: &World<'_>) -> BTreeSet<IpAddr> {
    let services = world.services.values();
    services.flat_map(|service| addresses(service)).collect()
}

/// Virtual addresses of a Service, the first one first.
fn addresses(service: &Service) -> Vec<IpAddr> {
    let spec = service.spec.clone().unwrap_or_default();
    let mut all: Vec<IpAddr> = Vec::new();
    for text in spec
        .cluster_ip
        .into_iter()
        .chain(spec.cluster_ips.into_iter().flatten())
    {
        match text.parse() {
            Ok(ip) if !all.contains(&ip) => all.push(ip),
            _ => {}
        }
    }
    all
}

/// Pods on each node that have not ended.
fn load(world: &World<'_>) -> BTreeMap<String, usize> {
    let mut load: BTreeMap<String, usize> =
        world.nodes.keys().map(|n| ((*n).to_owned(), 0)).collect();
    for pod in world.pods.values().filter(|p| !pods::ended(p)) {
        let node = pod.spec.as_ref().and_then(|s| s.node_name.as_deref());
        if let Some(count) = node.and_then(|node| load.get_mut(node)) {
            *count += 1;
        }
    }
    load
}

/// Plans ServiceAccount and Service; gives the Service's first address.
fn service(
    world: &World<'_>,
    gateway: &GatewayFact<'_>,
    pools: &mut [AddressPool],
    out: &mut Out,
) -> Option<IpAddr> {
    let (namespace, name) = (gateway.name.0, gateway.generated.as_str());
    let key = |kind| ObjectKey::new(kind, namespace, name);
    let names = match world.config.waypoints {
        WaypointForm::Pods => Names::of(gateway),
        WaypointForm::Deployments { .. } => Names::of(gateway).owned(gateway),
    };
    out.wanted
        .object(key(Kind::ServiceAccount), objects::service_account(&names));
    let existing = world.services.get(&(namespace, name));
    let has = existing
        .map(|service| addresses(service))
        .unwrap_or_default();
    if existing.is_some_and(|s| !is_generated(&s.metadata)) {
        // The user's own Service of that name stands in front of the pods.
        return has.first().copied();
    }
    let ips: Vec<IpAddr> = match world.config.waypoints {
        WaypointForm::Pods => pools
            .iter_mut()
            .map(|pool| {
                let kept = has.iter().copied().find(|ip| pool.is_of_family(*ip));
                kept.or_else(|| pool.take(&gateway.key))
            })
            .collect::<Option<_>>()?,
        WaypointForm::Deployments { .. } => Vec::new(),
    };
    let service = objects::service(&names, gateway, &ips);
    out.wanted.object(key(Kind::Service), service);
    ips.first().or(has.first()).copied()
}

/// Plans the Deployment; Kubernetes finds a place for its pods.
fn deployment(
    world: &World<'_>,
    gateway: &GatewayFact<'_>,
    control_plane: &str,
    out: &mut Out,
) -> Placed {
    if world.config.waypoint_image.is_empty() {
        return Placed::NoImage;
    }
    let value = deployment::document(world.config, gateway, control_plane);
    let key = ObjectKey::new(deployment::kind(), gateway.name.0, &gateway.generated);
    out.wanted.object(key, value);
    Placed::Yes
}

/// Whether a pod of the gateway has a place.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Placed {
    Yes,
    NoNode,
    NoImage,
}

fn pods(
    world: &World<'_>,
    gateway: &GatewayFact<'_>,
    load: &mut BTreeMap<String, usize>,
    out: &mut Out,
) -> Placed {
    let image = world.config.waypoint_image.as_str();
    let (namespace, _) = gateway.name;
    let existing: Vec<&Pod> = world
        .gateway_pods(gateway.name)
        .filter(|pod| is_generated(&pod.metadata))
        .collect();
    if image.is_empty() {
        return Placed::NoImage;
    }
    let node_of = |pod: &&Pod| pod.spec.as_ref().and_then(|s| s.node_name.clone());
    let kept = existing
        .iter()
        .filter(|pod| !pods::ended(pod))
        .filter_map(node_of)
        .find(|node| load.contains_key(node));
    let node = kept.or_else(|| {
        let emptiest = load
            .iter()
            .min_by_key(|(name, count)| (**count, (*name).clone()));
        let node = emptiest.map(|(name, _)| name.clone())?;
        *load.entry(node.clone()).or_default() += 1;
        Some(node)
    });
    let Some(node) = node else {
        return Placed::NoNode;
    };
    let names = Names::of(gateway);
    let (name, value) = objects::pod(&names, gateway, image, &node);
    let key = ObjectKey::new(Kind::Pod, namespace, &name);
    out.wanted.object(key, value);
    let is_new = |pod: &&Pod| pod.metadata.name.as_deref() == Some(name.as_str());
    let successor_ready = existing.iter().any(|pod| is_new(pod) && pods::ready(pod));
    for old in existing.iter().filter(|pod| !is_new(pod)) {
        let (old_namespace, old_name) = name_of(&old.metadata);
        let key = ObjectKey::new(Kind::Pod, old_namespace, old_name);
        if successor_ready || pods::ended(old) {
            out.wanted.absent(key);
        } else {
            out.wanted.object(key, objects::again(old));
        }
    }
    Placed::Yes
}

fn status(
    world: &World<'_>,
    gateway: &GatewayFact<'_>,
    service_ip: Option<IpAddr>,
    placed: Placed,
    out: &mut Out,
) {
    let (namespace, name) = gateway.name;
    let key = ObjectKey::new(Kind::Gateway, namespace, name);
    let accepted = status::accepted(gateway);
    let programmed = programmed(world, gateway, (service_ip, placed));
    out.statuses.condition(key.clone(), accepted);
    out.statuses.condition(key.clone(), programmed.clone());
    let addresses = status::addresses(world, gateway, service_ip);
    if let Some(addresses) = addresses.filter(|_| gateway.address.is_some()) {
        out.statuses.field(key.clone(), "addresses", addresses);
    }
    let listeners = status::listeners(world, gateway, &programmed);
    if !listeners.is_empty() {
        out.statuses
            .field(key, "listeners", Value::Array(listeners));
    }
}

/// Whether the gateway can be used.
fn programmed(
    world: &World<'_>,
    gateway: &GatewayFact<'_>,
    (service_ip, placed): (Option<IpAddr>, Placed),
) -> Condition {
    let what = match gateway.role {
        Some(Role::Ingress) => "gateway",
        _ => "waypoint",
    };
    let asked = &gateway.object.spec.addresses;
    let (met, reason, message) = match (gateway.ready, placed, service_ip) {
        _ if gateway.is_ingress() && !asked.is_empty() => (
            false,
            "AddressNotUsable",
            format!(
                "spec.addresses is not supported yet: those of Service {} are used",
                gateway.generated
            ),
        ),
        (true, _, Some(_)) if status::addresses(world, gateway, service_ip).is_none() => (
            false,
            "AddressNotAssigned",
            format!(
                "Service {} has no address for the outside yet",
                gateway.generated
            ),
        ),
        (true, _, Some(ip)) => (
            true,
            "Programmed",
            format!("Resource programmed, address {ip}"),
        ),
        (_, _, None) => (
            false,
            "AddressNotAssigned",
            format!("no address is left for the Service of the {what}"),
        ),
        (_, Placed::NoNode, _) => (
            false,
            "NoResources",
            format!("there is no Node to run the {what} on"),
        ),
        (_, Placed::NoImage, _) => (
            false,
            "NoResources",
            "the controller has no image for waypoints".to_owned(),
        ),
        (false, Placed::Yes, _) => (false, "Pending", format!("no pod of the {what} is ready")),
    };
    Condition::new("Programmed", met, reason, message)
}

/// Generated objects of gateways that are gone, also those of a former run.
fn withdraw_orphans(
    world: &World<'_>,
    gateways: &BTreeMap<Name<'_>, GatewayFact<'_>>,
    out: &mut Out,
) {
    let lives = |namespace: &str, meta: &ObjectMeta| {
        label(meta.labels.as_ref(), labels::GATEWAY_NAME)
            .and_then(|name| gateways.get(&(namespace, name)))
            .is_some_and(GatewayFact::is_ours)
    };
    let own_pods = world.config.waypoints == WaypointForm::Pods;
    for ((namespace, name), pod) in world.pods.iter().filter(|_| own_pods) {
        if is_generated(&pod.metadata) && !lives(namespace, &pod.metadata) {
            out.wanted
                .absent(ObjectKey::new(Kind::Pod, namespace, name));
        }
    }
    // A gateway of another class has another name for it.
    let named = |meta: &ObjectMeta, namespace: &str, name: &str| {
        label(meta.labels.as_ref(), labels::GATEWAY_NAME)
            .and_then(|gateway| gateways.get(&(namespace, gateway)))
            .is_some_and(|g| g.generated == name)
    };
    for ((namespace, name), service) in &world.services {
        let meta = &service.metadata;
        let wanted = lives(namespace, meta) && named(meta, namespace, name);
        if is_generated(meta) && !wanted {
            out.wanted
                .absent(ObjectKey::new(Kind::Service, namespace, name));
            out.wanted
                .absent(ObjectKey::new(Kind::ServiceAccount, namespace, name));
            if world.config.waypoints != WaypointForm::Pods {
                out.wanted
                    .absent(ObjectKey::new(deployment::kind(), namespace, name));
            }
        }
    }
}

#[cfg(test)]
mod tests;
