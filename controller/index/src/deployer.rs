//! What runs a gateway of ours: ServiceAccount, Service and Pod, and the Gateway's own status.
//! In: gateways, their pods, nodes, Services. Out: objects and statuses to write.
//! A Service keeps the address it has; a Pod keeps its node while that exists. A Pod that must be
//! replaced stays until its successor is ready.
//! Source: Istio's gateway deployer; Gateway API `Gateway.status`.

mod objects;

use crate::address_pool::AddressPool;
use crate::gateways::GatewayFact;
use crate::out::Out;
use crate::pods;
use crate::selector::label;
use crate::statuses::Condition;
use crate::world::{Name, World, name_of};
use ambit_api::labels;
use ambit_crds::{Kind, ObjectKey};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use objects::Names;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Plans every gateway of ours.
pub(crate) fn derive(
    world: &World<'_>,
    gateways: &BTreeMap<Name<'_>, GatewayFact<'_>>,
    out: &mut Out,
) {
    let mut pool = AddressPool::new(world.config.service_block, taken(world));
    let mut load = load(world);
    for gateway in gateways.values().filter(|g| g.ours) {
        let service_ip = service(world, gateway, &mut pool, out);
        let placed = pods(world, gateway, &mut load, out);
        status(world, gateway, service_ip, placed, out);
    }
    withdraw_orphans(world, gateways, out);
}

fn is_generated(meta: &ObjectMeta) -> bool {
    label(meta.labels.as_ref(), labels::MANAGED) == Some(labels::MANAGED_WAYPOINT)
}

/// Addresses that Services have.
fn taken(world: &World<'_>) -> BTreeSet<IpAddr> {
    let of = |service: &&k8s_openapi::api::core::v1::Service| {
        let spec = service.spec.clone().unwrap_or_default();
        let many = spec.cluster_ips.unwrap_or_default();
        many.into_iter()
            .chain(spec.cluster_ip)
            .filter_map(|ip| ip.parse().ok())
            .collect::<Vec<_>>()
    };
    world.services.values().flat_map(of).collect()
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

/// Plans ServiceAccount and Service; gives the Service's address.
fn service(
    world: &World<'_>,
    gateway: &GatewayFact<'_>,
    pool: &mut AddressPool,
    out: &mut Out,
) -> Option<IpAddr> {
    let (namespace, name) = gateway.name;
    let key = |kind| ObjectKey::new(kind, namespace, name);
    let names = Names::of(gateway);
    out.wanted
        .object(key(Kind::ServiceAccount), objects::service_account(&names));
    let existing = world.services.get(&gateway.name);
    let has: Option<IpAddr> = existing
        .and_then(|s| s.spec.as_ref()?.cluster_ip.as_ref())
        .and_then(|ip| ip.parse().ok());
    if existing.is_some_and(|s| !is_generated(&s.metadata)) {
        // The user's own Service of that name stands in front of the pods.
        return has;
    }
    let ip = has.or_else(|| pool.take(&gateway.key))?;
    let service = objects::service(&names, gateway, ip);
    out.wanted.object(key(Kind::Service), service);
    Some(ip)
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
    let accepted = Condition::new("Accepted", true, "Accepted", "Resource accepted");
    let (met, reason, message) = match (gateway.ready, placed, service_ip) {
        (true, _, Some(ip)) => (
            true,
            "Programmed",
            format!("Resource programmed, address {ip}"),
        ),
        (_, _, None) => (
            false,
            "AddressNotAssigned",
            "no address is left for the Service of the waypoint".to_owned(),
        ),
        (_, Placed::NoNode, _) => (
            false,
            "NoResources",
            "there is no Node to run the waypoint on".to_owned(),
        ),
        (_, Placed::NoImage, _) => (
            false,
            "NoResources",
            "the controller has no image for waypoints".to_owned(),
        ),
        (false, Placed::Yes, _) => (
            false,
            "Pending",
            "no pod of the waypoint is ready".to_owned(),
        ),
    };
    out.statuses.condition(key.clone(), accepted);
    let programmed = Condition::new("Programmed", met, reason, message);
    out.statuses.condition(key.clone(), programmed.clone());
    if gateway.address.is_some()
        && let Some(ip) = service_ip
    {
        let address = json!([{"type": "IPAddress", "value": ip.to_string()}]);
        out.statuses.field(key.clone(), "addresses", address);
    }
    let attached = attached_routes(world, gateway);
    let listeners: Vec<Value> = gateway
        .object
        .spec
        .listeners
        .iter()
        .map(|listener| {
            json!({
                "name": listener.name,
                "attachedRoutes": attached,
                "supportedKinds": [],
                "conditions": [
                    Condition::new("Accepted", true, "Accepted", "No errors found").json(),
                    Condition::new("ResolvedRefs", true, "ResolvedRefs", "No errors found").json(),
                    programmed.json(),
                ],
            })
        })
        .collect();
    if !listeners.is_empty() {
        out.statuses
            .field(key, "listeners", Value::Array(listeners));
    }
}

/// Routes whose parent is the Gateway itself.
fn attached_routes(world: &World<'_>, gateway: &GatewayFact<'_>) -> usize {
    let names_it = |namespace: &str, p: &ambit_crds::gateway::ParentRef| {
        p.kind.as_deref().is_none_or(|k| k == "Gateway")
            && p.name == gateway.name.1
            && p.namespace.as_deref().unwrap_or(namespace) == gateway.name.0
    };
    let attached = world.http_routes.iter().filter(|route| {
        let (namespace, _) = name_of(&route.metadata);
        route
            .spec
            .parent_refs
            .iter()
            .any(|p| names_it(namespace, p))
    });
    attached.count()
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
            .is_some_and(|g| g.ours)
    };
    for ((namespace, name), pod) in &world.pods {
        if is_generated(&pod.metadata) && !lives(namespace, &pod.metadata) {
            out.wanted
                .absent(ObjectKey::new(Kind::Pod, namespace, name));
        }
    }
    for ((namespace, name), service) in &world.services {
        if is_generated(&service.metadata) && !lives(namespace, &service.metadata) {
            out.wanted
                .absent(ObjectKey::new(Kind::Service, namespace, name));
            out.wanted
                .absent(ObjectKey::new(Kind::ServiceAccount, namespace, name));
        }
    }
}
