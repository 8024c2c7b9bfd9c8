//! `AuthorizationPolicy` (istio/api security/v1/authorization_policy.proto), whole.

use super::Selector;
use serde::Deserialize;

/// `spec`. No rules means that nothing matches.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AuthorizationPolicySpec {
    /// Pods it is for; exclusive with `targetRef` and `targetRefs`.
    pub selector: Option<Selector>,
    /// Old single form of `targetRefs`.
    pub target_ref: Option<TargetRef>,
    /// Services or Gateways it is for, enforced by their waypoint.
    pub target_refs: Vec<TargetRef>,
    /// ORed.
    pub rules: Vec<Rule>,
    /// Default allow.
    pub action: Action,
    /// Only with `CUSTOM`.
    pub provider: Option<ExtensionProvider>,
}

/// `action`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Action {
    /// Allows what matches; with any ALLOW policy the rest is denied.
    #[default]
    Allow,
    /// Denies what matches, before any ALLOW.
    Deny,
    /// Marks for audit.
    Audit,
    /// Asks an external authorizer.
    Custom,
}

/// `provider`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExtensionProvider {
    /// Name in the mesh configuration.
    pub name: String,
}

/// `targetRefs[]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TargetRef {
    /// API group; empty and `core` both mean the core group.
    pub group: String,
    /// `Service`, `ServiceEntry`, `Gateway` or `GatewayClass`.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Must be empty or the policy's own.
    pub namespace: String,
}

/// `rules[]`: `from`, `to` and `when` are ANDed; an absent one matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rule {
    /// ORed.
    pub from: Vec<From>,
    /// ORed.
    pub to: Vec<To>,
    /// ANDed.
    pub when: Vec<Condition>,
}

/// `from[]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct From {
    /// Who.
    pub source: Option<Source>,
}

/// `source`: fields are ANDed, values of one field ORed; `not…` means none may match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Source {
    /// Peer identities without `spiffe://`; `*`, `x*` and `*x` allowed.
    pub principals: Vec<String>,
    /// Negated.
    pub not_principals: Vec<String>,
    /// `<issuer>/<subject>` of a JWT (L7).
    pub request_principals: Vec<String>,
    /// Negated (L7).
    pub not_request_principals: Vec<String>,
    /// Peer namespaces.
    pub namespaces: Vec<String>,
    /// Negated.
    pub not_namespaces: Vec<String>,
    /// `name` or `namespace/name`.
    pub service_accounts: Vec<String>,
    /// Negated.
    pub not_service_accounts: Vec<String>,
    /// Addresses or CIDRs of the peer.
    pub ip_blocks: Vec<String>,
    /// Negated.
    pub not_ip_blocks: Vec<String>,
    /// Addresses or CIDRs by X-Forwarded-For (L7).
    pub remote_ip_blocks: Vec<String>,
    /// Negated (L7).
    pub not_remote_ip_blocks: Vec<String>,
}

/// `to[]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct To {
    /// What.
    pub operation: Option<Operation>,
}

/// `operation`: fields are ANDed, values of one field ORed; `not…` means none may match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Operation {
    /// Host header (L7).
    pub hosts: Vec<String>,
    /// Negated (L7).
    pub not_hosts: Vec<String>,
    /// Destination ports, in decimal.
    pub ports: Vec<String>,
    /// Negated.
    pub not_ports: Vec<String>,
    /// Methods (L7).
    pub methods: Vec<String>,
    /// Negated (L7).
    pub not_methods: Vec<String>,
    /// Paths; `*`, `x*`, `*x` and templates (L7).
    pub paths: Vec<String>,
    /// Negated (L7).
    pub not_paths: Vec<String>,
}

/// `when[]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    /// For example `source.namespace` or `request.headers[x-user]`.
    pub key: String,
    /// ORed.
    pub values: Vec<String>,
    /// None may match.
    pub not_values: Vec<String>,
}
