//! What an overlay must leave alone: the name and owner of an object, and the labels by which we and others
//! know it for ours.

use super::{Overlaid, OverlayError};
use ambit_api::labels;
use serde_json::Value;

/// Fields of metadata that are the object's identity, or the server's to write.
const METADATA: [&str; 10] = [
    "name",
    "generateName",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "ownerReferences",
    "managedFields",
];

/// Labels by which the object and its pods are known.
const LABELS: [&str; 3] = [
    labels::GATEWAY_NAME,
    labels::GATEWAY_CLASS_NAME,
    labels::MANAGED,
];

/// Refuses a merged document that is another object than the generated one.
pub(super) fn check(kind: Overlaid, before: &Value, after: &Value) -> Result<(), OverlayError> {
    let mut fixed: Vec<Vec<&str>> = vec![
        vec!["apiVersion"],
        vec!["kind"],
        vec!["status"],
        vec!["metadata", "finalizers"],
    ];
    fixed.extend(METADATA.map(|field| vec!["metadata", field]));
    fixed.extend(LABELS.map(|label| vec!["metadata", "labels", label]));
    match kind {
        Overlaid::Deployment => {
            fixed.push(vec!["spec", "selector"]);
            fixed.push(vec!["spec", "template", "spec", "serviceAccountName"]);
            let labels = ["spec", "template", "metadata", "labels"];
            fixed.extend(LABELS.map(|label| [&labels[..], &[label]].concat()));
            let mesh = [&labels[..], &[labels::DATAPLANE_MODE]].concat();
            fixed.push(mesh);
        }
        Overlaid::Service => fixed.push(vec!["spec", "selector"]),
        Overlaid::HorizontalPodAutoscaler => fixed.push(vec!["spec", "scaleTargetRef"]),
        Overlaid::ServiceAccount | Overlaid::PodDisruptionBudget => {}
    }
    let changed = |path: &&Vec<&str>| at(before, path) != at(after, path);
    match fixed.iter().find(changed) {
        Some(path) => Err(OverlayError::field(path.join("."), "cannot be changed")),
        None => Ok(()),
    }
}

fn at<'a>(value: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(value, |value, field| value.get(field))
}
