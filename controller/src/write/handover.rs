//! Handing the number of pods over to an autoscaler: a field that its one manager no longer applies falls back to
//! its default, which here would be one pod until the autoscaler looks. Another manager of ours holds it meanwhile.
//! In: a Deployment as it is and as it is wanted. Out: what that manager has to apply. Pure.
//! Spec: Kubernetes server-side apply, "transferring ownership".

use crate::cluster::MANAGER;
use serde_json::{Value, json};

/// Field manager that holds the number; the autoscaler's first write takes it over.
pub(super) const HOLDER: &str = "ambit-controller-handover";

/// What to apply before `wanted`, so that the number of pods stays; `None`: nothing.
pub(super) fn before(there: &Value, wanted: &Value) -> Option<Value> {
    let replicas = &there["spec"]["replicas"];
    if !wanted["spec"]["replicas"].is_null() || replicas.is_null() || !is_ours(there) {
        return None;
    }
    Some(json!({
        "apiVersion": wanted["apiVersion"],
        "kind": wanted["kind"],
        "metadata": {
            "name": wanted["metadata"]["name"],
            "namespace": wanted["metadata"]["namespace"],
        },
        "spec": {"replicas": replicas},
    }))
}

/// Whether the number is one that we applied.
fn is_ours(there: &Value) -> bool {
    let managers = there["metadata"]["managedFields"].as_array();
    managers.into_iter().flatten().any(|entry| {
        entry["manager"] == MANAGER && !entry["fieldsV1"]["f:spec"]["f:replicas"].is_null()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_number_of_ours_that_is_no_longer_wanted_is_held() {
        let there = |manager: &str| {
            json!({"spec": {"replicas": 3}, "metadata": {"managedFields": [
                {"manager": manager, "fieldsV1": {"f:spec": {"f:replicas": {}}}}]}})
        };
        let wanted = |spec: Value| {
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": spec,
                "metadata": {"name": "w", "namespace": "n", "labels": {"a": "b"}}})
        };
        let held = before(&there(MANAGER), &wanted(json!({}))).unwrap();
        assert_eq!(held["spec"], json!({"replicas": 3}));
        assert_eq!(held["metadata"], json!({"name": "w", "namespace": "n"}));
        assert_eq!(before(&there("kubectl"), &wanted(json!({}))), None);
        assert_eq!(
            before(&there(MANAGER), &wanted(json!({"replicas": 2}))),
            None
        );
        assert_eq!(before(&json!({}), &wanted(json!({}))), None);
    }
}
