//! Facts of one pod that several outputs need.

use k8s_openapi::api::core::v1::{Pod, PodSpec};

/// Whether the pod has ended (`status.phase` Succeeded or Failed).
pub(crate) fn ended(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|s| s.phase.as_deref());
    matches!(phase, Some("Succeeded" | "Failed"))
}

/// Whether it takes traffic: Ready and not being deleted.
pub(crate) fn ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|s| s.conditions.as_ref());
    let ready = conditions
        .into_iter()
        .flatten()
        .any(|c| c.type_ == "Ready" && c.status == "True");
    ready && pod.metadata.deletion_timestamp.is_none()
}

/// Service account, `default` when unset.
pub(crate) fn account(spec: &PodSpec) -> &str {
    spec.service_account_name
        .as_deref()
        .filter(|name| !name.is_empty())
        .unwrap_or("default")
}
