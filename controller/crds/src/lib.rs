//! Kubernetes, Istio and Gateway API objects as Ambit reads them, and their validation.
//! In: JSON values (from YAML files or an API server). Out: typed [`Object`]s, or [`FieldError`]s that
//! name object, field and reason. One rule set for controller, statuses, webhook and `analyze`.
//! Must not: look at any other object; no IO, no clock.
//! Spec: istio/api networking v1, security v1; Gateway API v1; Kubernetes core v1, discovery v1.
#![forbid(unsafe_code)]

pub mod annotations;
pub mod duration;
mod error;
pub mod gateway;
pub mod grpc;
pub mod istio;
mod key;
mod object;
mod parse;
pub mod validate;

pub use error::{Code, FieldError, Severity};
pub use key::{Kind, ObjectKey, ObjectRef};
pub use object::{GrpcRoute, Object, Other, Resource, Unserved, no_effect};
pub use validate::{DISABLED, validate};

/// Our name in GatewayClasses (`spec.controllerName`) and in the status of routes
/// (`status.parents[].controllerName`).
pub const CONTROLLER_NAME: &str = "ambit.io/gateway-controller";

#[cfg(test)]
mod tests;
