//! Objects without what nothing reads, so that a large cluster fits and a heartbeat is no change. Pure.

use ambit_crds::Kind;
use serde_json::{Map, Value};

/// The last object a person applied, whole; often larger than the object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
const POD_SPEC: [&str; 9] = [
    "containers",
    "hostNetwork",
    "hostname",
    "initContainers",
    "nodeName",
    "restartPolicy",
    "serviceAccountName",
    "subdomain",
    "terminationGracePeriodSeconds",
];
const CONTAINER: [&str; 3] = ["name", "ports", "restartPolicy"];
const POD_STATUS: [&str; 6] = ["conditions", "hostIP", "phase", "podIP", "podIPs", "reason"];
const CONDITION: [&str; 2] = ["status", "type"];
const NODE_STATUS: [&str; 1] = ["addresses"];
const NODE_SPEC: [&str; 2] = ["podCIDR", "podCIDRs"];

/// Drops bookkeeping of the server, and of large kinds all fields that no part of Ambit reads.
pub(super) fn trim(kind: &Kind, object: &mut Map<String, Value>) {
    if let Some(meta) = map(object, "metadata") {
        meta.remove("managedFields");
        // Every write changes it, also those that change nothing we read.
        meta.remove("resourceVersion");
        if let Some(annotations) = map(meta, "annotations") {
            annotations.remove(LAST_APPLIED);
        }
    }
    match kind {
        Kind::Pod => pod(object),
        Kind::Node => {
            keep(map(object, "spec"), &NODE_SPEC);
            keep(map(object, "status"), &NODE_STATUS);
        }
        Kind::ConfigMap => {
            object.retain(|key, _| key == "metadata" || key == "data" || is_type(key))
        }
        Kind::ServiceAccount => object.retain(|key, _| key == "metadata" || is_type(key)),
        _ => {}
    }
}

fn pod(object: &mut Map<String, Value>) {
    if let Some(spec) = map(object, "spec") {
        spec.retain(|key, _| POD_SPEC.contains(&key.as_str()));
        for list in ["containers", "initContainers"] {
            for container in items(spec, list) {
                keep(container.as_object_mut(), &CONTAINER);
            }
        }
    }
    if let Some(status) = map(object, "status") {
        status.retain(|key, _| POD_STATUS.contains(&key.as_str()));
        for condition in items(status, "conditions") {
            keep(condition.as_object_mut(), &CONDITION);
        }
    }
}

fn is_type(key: &str) -> bool {
    key == "apiVersion" || key == "kind"
}

fn map<'a>(object: &'a mut Map<String, Value>, key: &str) -> Option<&'a mut Map<String, Value>> {
    object.get_mut(key)?.as_object_mut()
}

fn items<'a>(object: &'a mut Map<String, Value>, key: &str) -> impl Iterator<Item = &'a mut Value> {
    object
        .get_mut(key)
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
}

fn keep(object: Option<&mut Map<String, Value>>, keys: &[&str]) {
    if let Some(object) = object {
        object.retain(|key, _| keys.contains(&key.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_keeps_what_is_read() {
        let mut pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "a", "managedFields": [{}], "resourceVersion": "7",
                "annotations": {LAST_APPLIED: "{}", "x": "y"}},
            "spec": {"nodeName": "n", "volumes": [{}], "containers": [
                {"name": "c", "image": "i", "env": [{}], "ports": [{"containerPort": 80}]}, 7]},
            "status": {"phase": "Running", "containerStatuses": [{}], "conditions": [
                {"type": "Ready", "status": "True", "lastProbeTime": "t"}]},
        });
        trim(&Kind::Pod, pod.as_object_mut().unwrap());
        assert_eq!(
            pod,
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": "a", "annotations": {"x": "y"}},
                "spec": {"nodeName": "n", "containers": [
                    {"name": "c", "ports": [{"containerPort": 80}]}, 7]},
                "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
            })
        );
    }

    #[test]
    fn odd_shapes_are_left_alone() {
        for mut odd in [
            json!({"metadata": 7, "spec": [], "status": null}),
            json!({"spec": {"containers": {}}, "status": {"conditions": "x"}}),
        ] {
            for kind in Kind::KNOWN {
                trim(kind, odd.as_object_mut().unwrap());
            }
        }
    }
}
