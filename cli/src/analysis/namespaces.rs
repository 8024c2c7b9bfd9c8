//! Namespaces and pods: who is in the mesh and who only seems to be.

use ambit_api::labels;
use ambit_crds::{Object, ObjectKey};
use k8s_openapi::api::core::v1::Pod;

use super::messages::{BAD_LABEL, MISPLACED, NO_PROXY, NOT_IN_MESH, TWO_MODES};
use super::world::{Labels, World};
use super::{Finding, Level};

/// Labels that ask for sidecars.
const INJECTION: &str = "istio-injection";
const REVISION: &str = "istio.io/rev";
/// Namespaces that nobody expects in a mesh.
const SYSTEM: [&str; 4] = [
    "kube-system",
    "kube-public",
    "kube-node-lease",
    "local-path-storage",
];
/// Labels of the mesh and the values they may have; none: any.
const LABELS: [(&str, &[&str]); 6] = [
    (labels::DATAPLANE_MODE, &["ambient", "none"]),
    (labels::USE_WAYPOINT, &[]),
    (labels::USE_WAYPOINT_NAMESPACE, &[]),
    (
        labels::WAYPOINT_FOR,
        &["service", "workload", "all", "none"],
    ),
    ("istio.io/ingress-use-waypoint", &["true", "false"]),
    ("ambit.io/require-waypoint", &["true", "false"]),
];

pub(super) fn check(world: &World, found: &mut Vec<Finding>) {
    for (key, object) in world.objects() {
        written(key, object, found);
        if let Object::Namespace(namespace) = object {
            mode(world, key, namespace.metadata.labels.as_ref(), found);
        }
    }
    for (key, pod) in world.pods() {
        captured(world, key, pod, found);
    }
}

/// Labels with a value that means something, and labels that are labels.
fn written(key: &ObjectKey, object: &Object, found: &mut Vec<Finding>) {
    for (label, values) in LABELS {
        if let Some(value) = object.labels().get(label)
            && !values.is_empty()
            && !values.contains(&value.as_str())
        {
            found.push(
                Finding::new(
                    &BAD_LABEL,
                    key,
                    format!("label {label} is {value:?}, which means nothing"),
                )
                .field(format!("metadata.labels.{label}"))
                .fix(format!("one of {}", values.join(", "))),
            );
        }
        if object.annotations().contains_key(label) {
            found.push(
                Finding::new(
                    &MISPLACED,
                    key,
                    format!("{label} is a label; as an annotation it has no effect"),
                )
                .field(format!("metadata.annotations.{label}"))
                .fix("write it below metadata.labels"),
            );
        }
    }
}

fn mode(world: &World, key: &ObjectKey, labels: Option<&Labels>, found: &mut Vec<Finding>) {
    let name = &*key.name;
    let label = |key: &str| labels.and_then(|l| l.get(key)).map(String::as_str);
    let asks = match (label(INJECTION), label(REVISION)) {
        (Some("enabled"), _) => Some(INJECTION),
        (None, Some(_)) => Some(REVISION),
        _ => None,
    };
    let mode = label(labels::DATAPLANE_MODE);
    if mode == Some("ambient") {
        if let Some(asks) = asks.filter(|a| *a == INJECTION) {
            let text =
                format!("the namespace is in the mesh; {asks} has no effect: nothing is injected");
            let fix = format!("kubectl label namespace {name} {asks}-");
            found.push(
                Finding::new(&TWO_MODES, key, text)
                    .field(format!("metadata.labels.{asks}"))
                    .fix(fix),
            );
        }
        return;
    }
    let join = format!(
        "kubectl label namespace {name} {}=ambient",
        labels::DATAPLANE_MODE
    );
    if let Some(asks) = asks {
        let text = format!(
            "the namespace asks for sidecars ({asks}), which this mesh does not inject: its pods are not in the mesh"
        );
        let mut finding = Finding::new(&NOT_IN_MESH, key, text)
            .field(format!("metadata.labels.{asks}"))
            .fix(join);
        finding.level = Level::Warning;
        found.push(finding);
        return;
    }
    let ours = SYSTEM.contains(&name) || name == world.root;
    let has_pods = world.pods().any(|(pod, _)| *pod.namespace == *name);
    if mode.is_none() && !ours && has_pods && label(INJECTION) != Some("disabled") {
        let none = format!("{}=none", labels::DATAPLANE_MODE);
        found.push(
            Finding::new(&NOT_IN_MESH, key, "the namespace is not in the mesh")
                .fix(format!("{join}; or {none} to say that it should not be")),
        );
    }
}

/// A pod that runs is captured if it should be.
fn captured(world: &World, key: &ObjectKey, pod: &Pod, found: &mut Vec<Finding>) {
    let label = |key: &str| {
        pod.metadata
            .labels
            .as_ref()
            .and_then(|l| l.get(key))
            .map(String::as_str)
    };
    let asked = match label(labels::DATAPLANE_MODE) {
        Some(mode) => mode == "ambient",
        None => world.is_in_mesh(&key.namespace),
    };
    let runs = pod.status.as_ref().and_then(|s| s.phase.as_deref()) == Some("Running");
    let host = pod.spec.as_ref().and_then(|s| s.host_network) == Some(true);
    let gateway = label(labels::GATEWAY_NAME).is_some() && label(labels::MANAGED).is_some();
    if !asked || !runs || host || gateway || SYSTEM.contains(&&*key.namespace) {
        return;
    }
    let state = pod
        .metadata
        .annotations
        .as_ref()
        .and_then(|a| a.get(labels::REDIRECTION));
    if state.map(String::as_str) != Some("enabled") {
        let node = pod
            .spec
            .as_ref()
            .and_then(|s| s.node_name.as_deref())
            .unwrap_or("its node");
        let state = state.map_or("missing", String::as_str);
        found.push(
            Finding::new(
                &NO_PROXY,
                key,
                format!("the pod should be in the mesh, but its connections are not captured ({} is {state})", labels::REDIRECTION),
            )
            .fix(format!("see what the agent of {node} says: `ambit status`, `kubectl logs -n {} -l app=ambit-cni-node`", world.root)),
        );
    }
}
