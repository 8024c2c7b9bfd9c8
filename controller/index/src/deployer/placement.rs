//! Pods of gateways where nobody schedules: one each, on the node with the fewest.
//! A pod keeps its node while that exists; one that must be replaced stays until its successor is ready.

use super::Placed;
use super::objects::{self, Names};
use crate::gateways::GatewayFact;
use crate::gateways::naming::is_generated;
use crate::out::Out;
use crate::pods;
use crate::world::{World, name_of};
use ambit_crds::{Kind, ObjectKey};
use k8s_openapi::api::core::v1::Pod;
use std::collections::BTreeMap;

/// Pods on each node that have not ended.
pub(super) fn load(world: &World<'_>) -> BTreeMap<String, usize> {
    let mut load: BTreeMap<String, usize> =
        world.nodes.keys().map(|n| ((*n).to_owned(), 0)).collect();
    let pods = world.pods().map(|(_, pod)| pod);
    for pod in pods.filter(|pod| !pods::ended(pod)) {
        let node = pod.spec.as_ref().and_then(|s| s.node_name.as_deref());
        if let Some(count) = node.and_then(|node| load.get_mut(node)) {
            *count += 1;
        }
    }
    load
}

/// Plans the pod of a gateway.
pub(super) fn pods(
    world: &World<'_>,
    gateway: &GatewayFact<'_>,
    load: &mut BTreeMap<String, usize>,
    out: &mut Out,
) -> Placed {
    let image = world.config.waypoint_image.as_str();
    let existing = existing(world, gateway);
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
    let key = ObjectKey::new(Kind::Pod, gateway.name.0, &name);
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

/// Leaves the pods of a gateway as they are.
pub(super) fn leave(world: &World<'_>, gateway: &GatewayFact<'_>, out: &mut Out) {
    for pod in existing(world, gateway) {
        let (namespace, name) = name_of(&pod.metadata);
        let key = ObjectKey::new(Kind::Pod, namespace, name);
        out.wanted.object(key, objects::again(pod));
    }
}

fn existing<'a>(world: &World<'a>, gateway: &GatewayFact<'a>) -> Vec<&'a Pod> {
    world
        .gateway_pods(gateway.name)
        .filter(|pod| is_generated(&pod.metadata))
        .collect()
}
