//! `GatewayClass`: what is said on it counts for its Gateways that do not say it themselves.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

/// The part that is read: which classes are ours is known by their names.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct GatewayClass {
    /// `metadata`; the name is always set.
    pub metadata: ObjectMeta,
}
