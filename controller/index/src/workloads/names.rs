//! Telemetry names of a pod: workload, canonical service, canonical revision.
//! Source: Istio's canonical-service labels; owner references of Kubernetes controllers.

use crate::selector::{Labels, label};
use ambit_api::labels;
use k8s_openapi::api::core::v1::Pod;

/// Label of a Deployment's pods that ends the name of their ReplicaSet.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// Name of what owns the pod: its Deployment, Job, …, or its own.
pub(super) fn workload_name(pod: &Pod, name: &str) -> String {
    let labels = pod.metadata.labels.as_ref();
    if let Some(given) = label(labels, labels::WORKLOAD_NAME) {
        return given.to_owned();
    }
    let owner = pod
        .metadata
        .owner_references
        .iter()
        .flatten()
        .find(|owner| owner.controller == Some(true));
    let Some(owner) = owner else {
        return name.to_owned();
    };
    let stripped = match owner.kind.as_str() {
        "ReplicaSet" => label(labels, TEMPLATE_HASH)
            .and_then(|hash| owner.name.strip_suffix(hash)?.strip_suffix('-')),
        // The Jobs of a CronJob end in the minute they were scheduled for.
        "Job" => owner.name.rsplit_once('-').and_then(|(cron, minute)| {
            let scheduled = minute.len() >= 8 && minute.bytes().all(|b| b.is_ascii_digit());
            scheduled.then_some(cron)
        }),
        _ => None,
    };
    stripped.unwrap_or(&owner.name).to_owned()
}

pub(crate) fn canonical_name(labels: Labels<'_>, workload_name: &str) -> String {
    [labels::CANONICAL_NAME, "app.kubernetes.io/name", "app"]
        .iter()
        .find_map(|key| label(labels, key))
        .unwrap_or(workload_name)
        .to_owned()
}

pub(crate) fn canonical_revision(labels: Labels<'_>) -> String {
    [
        labels::CANONICAL_REVISION,
        "app.kubernetes.io/version",
        "version",
    ]
    .iter()
    .find_map(|key| label(labels, key))
    .unwrap_or("latest")
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(owner: Option<(&str, &str)>, labels: &[(&str, &str)]) -> Pod {
        let mut value = serde_json::json!({"metadata": {"labels": {}}});
        for (key, text) in labels {
            value["metadata"]["labels"][key] = (*text).into();
        }
        if let Some((kind, name)) = owner {
            value["metadata"]["ownerReferences"] = serde_json::json!([
                {"apiVersion": "v1", "kind": kind, "name": name, "uid": "u", "controller": true}]);
        }
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn workloads_are_named_after_what_the_user_wrote() {
        for (owner, labels, expected) in [
            (None, &[][..], "p"),
            (
                Some(("ReplicaSet", "web-7d9")),
                &[("pod-template-hash", "7d9")][..],
                "web",
            ),
            (Some(("ReplicaSet", "web-7d9")), &[][..], "web-7d9"),
            (Some(("StatefulSet", "db")), &[][..], "db"),
            (Some(("Job", "nightly-28973456")), &[][..], "nightly"),
            (Some(("Job", "once-1")), &[][..], "once-1"),
            (None, &[("service.istio.io/workload-name", "x")][..], "x"),
        ] {
            assert_eq!(workload_name(&pod(owner, labels), "p"), expected);
        }
    }

    #[test]
    fn canonical_names_fall_back_in_order() {
        let of = |labels: &[(&str, &str)]| {
            let pod = pod(None, labels);
            let labels = pod.metadata.labels.as_ref();
            (canonical_name(labels, "w"), canonical_revision(labels))
        };
        let pair = |a: &str, b: &str| (a.to_owned(), b.to_owned());
        assert_eq!(of(&[]), pair("w", "latest"));
        assert_eq!(of(&[("app", "a"), ("version", "v1")]), pair("a", "v1"));
        assert_eq!(
            of(&[
                ("app", "a"),
                ("app.kubernetes.io/name", "n"),
                ("app.kubernetes.io/version", "2")
            ]),
            pair("n", "2")
        );
        assert_eq!(
            of(&[("service.istio.io/canonical-name", "c"), ("app", "a")]),
            pair("c", "latest")
        );
    }
}
