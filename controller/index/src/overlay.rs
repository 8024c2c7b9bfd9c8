//! Overlays: parts of Kubernetes objects that users lay over the objects we generate.
//! In: a generated document, the text of an overlay (YAML, from whoever may write a ConfigMap). Out: the
//! document with the overlay in it, or what is wrong with it and where. Pure; owns nothing.
//! Must not happen here: another object than the one generated (its name, its owner, what it selects), a
//! document that the API server would refuse for ever, a panic for any text.
//! Source: Istio's gateway deployer; Kubernetes strategic merge patch.

mod form;
mod identity;
mod merge;

use serde_json::Value;

/// Deepest nesting of an overlay; Kubernetes objects stay far below.
const MAX_NESTING: usize = 64;

/// Objects that take an overlay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Overlaid {
    /// apps/v1.
    Deployment,
    /// core/v1.
    Service,
    /// core/v1.
    ServiceAccount,
    /// autoscaling/v2.
    HorizontalPodAutoscaler,
    /// policy/v1.
    PodDisruptionBudget,
}

impl Overlaid {
    /// Every one.
    pub const ALL: [Self; 5] = [
        Self::Deployment,
        Self::Service,
        Self::ServiceAccount,
        Self::HorizontalPodAutoscaler,
        Self::PodDisruptionBudget,
    ];

    /// Its key in a ConfigMap of overlays.
    pub fn key(self) -> &'static str {
        match self {
            Self::Deployment => "deployment",
            Self::Service => "service",
            Self::ServiceAccount => "serviceAccount",
            Self::HorizontalPodAutoscaler => "horizontalPodAutoscaler",
            Self::PodDisruptionBudget => "podDisruptionBudget",
        }
    }
}

/// Why an overlay cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OverlayError {
    /// It cannot be read.
    #[error("not YAML: {reason}")]
    Text {
        /// What the parser says, in one line.
        reason: String,
    },
    /// A field of it is wrong, or makes the object wrong.
    #[error("{path}: {reason}")]
    Field {
        /// The field.
        path: String,
        /// What is wrong.
        reason: String,
    },
}

impl OverlayError {
    fn field(path: impl Into<String>, reason: impl Into<String>) -> Self {
        let path: String = path.into();
        Self::Field {
            path: match path.is_empty() {
                true => "the overlay".to_owned(),
                false => path,
            },
            reason: reason.into(),
        }
    }
}

/// `document` with the overlay `text` in it. An empty text changes nothing.
///
/// # Errors
/// [`OverlayError`].
pub fn overlay(kind: Overlaid, document: &Value, text: &str) -> Result<Value, OverlayError> {
    let mut patch = match read(text)? {
        Value::Null => return Ok(document.clone()),
        Value::Object(patch) => patch,
        _ => return Err(OverlayError::field("", "must be a map")),
    };
    form::quantities_as_text(&mut patch);
    let merged = merge::merge(kind, document, patch)?;
    identity::check(kind, document, &merged)?;
    form::check(kind, &merged)?;
    Ok(merged)
}

/// YAML under limits against deep nesting and alias bombs.
fn read(text: &str) -> Result<Value, OverlayError> {
    if text.trim().is_empty() {
        return Ok(Value::Null);
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: MAX_NESTING,
            flow_nesting_limit: MAX_NESTING,
            max_aliases: 100,
            max_anchors: 100,
        },
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options::<Value>(text, options).map_err(|error| {
        let text = error.to_string();
        let words: Vec<&str> = text.split_whitespace().collect();
        OverlayError::Text {
            reason: words.join(" "),
        }
    })
}

#[cfg(test)]
mod tests;
