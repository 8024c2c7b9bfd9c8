//! Policies that take nobody, or that nobody enforces.

use ambit_api::labels;
use ambit_crds::istio::{AuthorizationPolicySpec, Selector, TargetRef};
use ambit_crds::{Object, ObjectKey};

use super::Finding;
use super::messages::{NO_IMPACT, NO_WORKLOADS, SELECTOR_AT_GATEWAY};
use super::world::{World, is_waypoint};

pub(super) fn check(world: &World, found: &mut Vec<Finding>) {
    for (key, object) in world.objects() {
        match object {
            Object::AuthorizationPolicy(o) => {
                selector(world, key, o.spec.selector.as_ref(), found);
                targets(world, key, &o.spec, found);
            }
            Object::PeerAuthentication(o) => {
                selector(world, key, o.spec.selector.as_ref(), found);
            }
            _ => {}
        }
    }
}

fn selector(world: &World, key: &ObjectKey, selector: Option<&Selector>, found: &mut Vec<Finding>) {
    let Some(selector) = selector.filter(|s| !s.match_labels.is_empty()) else {
        return;
    };
    if !world.knows_workloads() {
        return;
    }
    let scope = (*key.namespace != *world.root).then_some(&*key.namespace);
    let mut gateways = Vec::new();
    let mut others = 0_usize;
    for pod in world.selected(scope, &selector.match_labels) {
        match gateway_of(world, pod) {
            Some(gateway) => gateways.push(gateway),
            None => others += 1,
        }
    }
    let field = "spec.selector.matchLabels";
    gateways.sort_unstable();
    gateways.dedup();
    for gateway in &gateways {
        let text =
            format!("the selector takes pods of gateway {gateway}, which looks at targetRefs only");
        found.push(
            Finding::new(&SELECTOR_AT_GATEWAY, key, text)
                .field(field)
                .fix(format!("targetRefs: [{{kind: Gateway, group: gateway.networking.k8s.io, name: {gateway}}}]")),
        );
    }
    if gateways.is_empty() && others == 0 {
        let labels: Vec<String> = selector
            .match_labels
            .iter()
            .map(|(k, v)| format!("{k}={v}"))
            .collect();
        let text = format!("no pod has the labels {}", labels.join(","));
        found.push(Finding::new(&NO_WORKLOADS, key, text).field(field));
    }
}

/// The Gateway that a pod was made for.
fn gateway_of<'a>(world: &'a World, pod: &ObjectKey) -> Option<&'a str> {
    match world.get(pod.kind.clone(), &pod.namespace, &pod.name)? {
        Object::Pod(pod) => pod
            .metadata
            .labels
            .as_ref()?
            .get(labels::GATEWAY_NAME)
            .map(String::as_str),
        _ => None,
    }
}

/// What a target is must have a proxy that looks at policies of requests.
fn targets(
    world: &World,
    key: &ObjectKey,
    spec: &AuthorizationPolicySpec,
    found: &mut Vec<Finding>,
) {
    for (i, target) in spec.target_refs.iter().chain(&spec.target_ref).enumerate() {
        if let Some((why, fix)) = ineffective(world, key, target) {
            found.push(
                Finding::new(&NO_IMPACT, key, format!("the policy has no impact: {why}"))
                    .field(format!("spec.targetRefs[{i}]"))
                    .fix(fix),
            );
        }
    }
}

fn ineffective(world: &World, key: &ObjectKey, target: &TargetRef) -> Option<(String, String)> {
    let name = &target.name;
    match target.kind.as_str() {
        "Service" => {
            let service = world.service(&key.namespace, name)?;
            if world.waypoint(service).is_some() {
                return None;
            }
            Some((
                format!("service {}/{name} has no waypoint", key.namespace),
                format!(
                    "ambit waypoint apply -n {} --enroll-namespace",
                    key.namespace
                ),
            ))
        }
        "Gateway" => {
            let gateway = world.gateway(&key.namespace, name)?;
            let class = &gateway.spec.gateway_class_name;
            let ours = is_waypoint(&gateway.spec) || ["istio", "ambit"].contains(&class.as_str());
            (!ours).then(|| {
                (
                    format!(
                        "gateway {}/{name} is of class {class}, which is not this mesh's",
                        key.namespace
                    ),
                    "use a Gateway of class istio-waypoint or istio".to_owned(),
                )
            })
        }
        "GatewayClass" if *key.namespace != *world.root => Some((
            "a policy on a GatewayClass counts in the root namespace only".to_owned(),
            format!("move it to namespace {}", world.root),
        )),
        _ => None,
    }
}
