//! How many pods a gateway has and keeps: HorizontalPodAutoscaler and PodDisruptionBudget.
//! An autoscaler is there only with an overlay. A budget is there with an overlay, and for more than one pod: it
//! lets one go at a time, so it never blocks a drain.
//! Source: Istio's gateway deployer (`waypoint.yaml`); autoscaling/v2, policy/v1.

use super::objects::Names;
use super::parameters::Overlays;
use crate::overlay::Overlaid;
use ambit_crds::Kind;
use serde_json::{Value, json};

/// Kind of [`autoscaler`].
pub(super) fn autoscaler_kind() -> Kind {
    Kind::of("autoscaling", "HorizontalPodAutoscaler")
}

/// Kind of [`budget`].
pub(super) fn budget_kind() -> Kind {
    Kind::of("policy", "PodDisruptionBudget")
}

/// The autoscaler, if the user has one.
pub(super) fn autoscaler(
    names: &Names<'_>,
    overlays: &Overlays<'_>,
) -> Result<Option<Value>, String> {
    let kind = Overlaid::HorizontalPodAutoscaler;
    if !overlays.has(kind) {
        return Ok(None);
    }
    let document = json!({
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": names.metadata(names.name()),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": names.name()},
            "maxReplicas": 1,
        },
    });
    overlays.over(kind, document).map(Some)
}

/// The budget, where there is one. `pods`: as many as there are at least.
pub(super) fn budget(
    names: &Names<'_>,
    overlays: &Overlays<'_>,
    pods: u64,
) -> Result<Option<Value>, String> {
    let kind = Overlaid::PodDisruptionBudget;
    if !overlays.has(kind) && pods < 2 {
        return Ok(None);
    }
    let mut document = json!({
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": names.metadata(names.name()),
        // A pod that is not ready protects nobody.
        "spec": {
            "selector": {"matchLabels": names.selector()},
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    });
    document = overlays.over(kind, document)?;
    let limits = ["minAvailable", "maxUnavailable"];
    if limits
        .iter()
        .all(|limit| document["spec"][*limit].is_null())
    {
        document["spec"]["maxUnavailable"] = 1.into();
    }
    Ok(Some(document))
}

/// As many pods as a Deployment with an autoscaler has at least.
pub(super) fn least_pods(deployment: &Value, autoscaler: Option<&Value>) -> u64 {
    let stated = match autoscaler {
        Some(autoscaler) => &autoscaler["spec"]["minReplicas"],
        None => &deployment["spec"]["replicas"],
    };
    stated.as_u64().unwrap_or(1)
}
