//! Whether a merged document is one of its kind, so that the API server does not refuse it for ever: every
//! field is known and of its type. Values are the API server's to judge.

use super::{Overlaid, OverlayError};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::core::v1::{Service, ServiceAccount};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Maps of quantities.
const QUANTITIES: [&str; 2] = ["limits", "requests"];
/// Fields that are one.
const QUANTITY: [&str; 2] = ["averageValue", "sizeLimit"];

/// `cpu: 2` is a number in YAML, and a quantity to whoever wrote it.
pub(super) fn quantities_as_text(patch: &mut Map<String, Value>) {
    for (field, value) in patch {
        match value {
            Value::Object(map) if QUANTITIES.contains(&field.as_str()) => {
                map.values_mut().for_each(text);
            }
            Value::Object(map) => quantities_as_text(map),
            Value::Array(items) => {
                let maps = items.iter_mut().filter_map(Value::as_object_mut);
                maps.for_each(quantities_as_text);
            }
            value if QUANTITY.contains(&field.as_str()) => text(value),
            _ => {}
        }
    }
}

fn text(value: &mut Value) {
    if let Value::Number(number) = value {
        *value = Value::String(number.to_string());
    }
}

/// Refuses what is no object of the kind.
pub(super) fn check(kind: Overlaid, document: &Value) -> Result<(), OverlayError> {
    match kind {
        Overlaid::Deployment => read::<Deployment>(document),
        Overlaid::Service => read::<Service>(document),
        Overlaid::ServiceAccount => read::<ServiceAccount>(document),
        Overlaid::HorizontalPodAutoscaler => read::<HorizontalPodAutoscaler>(document),
        Overlaid::PodDisruptionBudget => read::<PodDisruptionBudget>(document),
    }
}

fn read<T: DeserializeOwned>(document: &Value) -> Result<(), OverlayError> {
    let mut unknown = None;
    let mut note = |path: serde_ignored::Path<'_>| {
        let path = path.to_string();
        // The types leave their own kind out.
        unknown.get_or_insert(path);
    };
    let reader = serde_ignored::Deserializer::new(document, &mut note);
    if let Err(error) = serde_path_to_error::deserialize::<_, T>(reader) {
        let path = error.path().to_string();
        return Err(OverlayError::field(path, error.into_inner().to_string()));
    }
    match unknown {
        // An option in between is a `?` in that path.
        Some(path) => Err(OverlayError::field(
            path.replace(".?", "").replace("?.", ""),
            "unknown field",
        )),
        None => Ok(()),
    }
}
