//! `PeerAuthentication` (istio/api security/v1/peer_authentication.proto), whole.

use super::Selector;
use serde::Deserialize;
use std::collections::BTreeMap;

/// `spec`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PeerAuthenticationSpec {
    /// Pods it is for; unset means the namespace, or the mesh in the root namespace.
    pub selector: Option<Selector>,
    /// Unset inherits.
    pub mtls: Option<MutualTls>,
    /// By workload port (decimal text, as JSON keys are); only with a selector.
    pub port_level_mtls: BTreeMap<String, MutualTls>,
}

/// `mtls`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MutualTls {
    /// Default `UNSET`.
    pub mode: MutualTlsMode,
}

/// `mtls.mode`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MutualTlsMode {
    /// Inherits.
    #[default]
    Unset,
    /// As permissive in an ambient mesh.
    Disable,
    /// Plaintext allowed.
    Permissive,
    /// Plaintext refused.
    Strict,
}
