//! Objects that no part of the mesh acts on, and what is said of them.

use super::{Resource, custom};
use crate::error::{Code, FieldError, Severity};
use crate::key::{Kind, ObjectKey, ObjectRef};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde_json::{Map, Value};

/// An object of a kind that Ambit defines and does not act on: its status says so.
#[derive(Debug, Clone, PartialEq)]
pub struct Unserved {
    /// Kind.
    pub kind: Kind,
    /// `metadata`; name and namespace are always set.
    pub metadata: ObjectMeta,
    /// `status`.
    pub status: Option<Value>,
}

impl Unserved {
    /// Reads it: whatever its spec says has no effect, so none of it is judged.
    pub(super) fn read(kind: &Kind, map: Map<String, Value>) -> Result<Self, Vec<FieldError>> {
        let read: Resource<Map<String, Value>> = *custom(map, &[])?;
        Ok(Self {
            kind: kind.clone(),
            metadata: read.metadata,
            status: read.status,
        })
    }
}

/// An object of a kind Ambit does not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Other {
    /// Identity.
    pub key: ObjectKey,
}

impl Other {
    /// Whether its author expects a mesh to act on it: Istio's and Gateway API's own groups.
    pub fn expects_mesh(&self) -> bool {
        let group = self.key.kind.group();
        group.ends_with(".istio.io") || group == "gateway.networking.k8s.io"
    }

    /// What its author should know: that no mesh acts on it, where one was expected to.
    pub fn warning(&self) -> Option<FieldError> {
        let kind = &self.key.kind;
        self.expects_mesh().then(|| FieldError {
            object: ObjectRef::from(&self.key),
            path: "kind".into(),
            reason: no_effect(kind),
            code: Code::Unsupported,
            severity: Severity::Warning,
        })
    }
}

/// What is said of an object of a kind that no part of the mesh acts on.
pub fn no_effect(kind: &Kind) -> String {
    format!(
        "{kind} of {} is not supported and has no effect",
        kind.group()
    )
}
