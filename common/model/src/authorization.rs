//! L4 authorization policies as the proxies evaluate them.
//! Source: `istio.security.Authorization`; conversions in `convert::authorization`; evaluation in
//! `ambit-policy`.

use crate::ids::PolicyKey;
use ipnet::IpNet;
use serde::Serialize;

/// One policy. No rules: never matches.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Authorization {
    /// Primary key.
    pub key: PolicyKey,
    /// Whom it applies to.
    pub scope: PolicyScope,
    /// What a match means.
    pub action: PolicyAction,
    /// ORed.
    pub rules: Vec<Rule>,
    /// Evaluated and logged, never enforced.
    pub dry_run: bool,
}

/// Whom a policy applies to (`istio.security.Scope`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum PolicyScope {
    /// Every workload.
    Global,
    /// Workloads of its namespace.
    Namespace,
    /// Workloads that name it.
    WorkloadSelector,
}

/// What a match means (`istio.security.Action`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum PolicyAction {
    /// Let it through.
    Allow,
    /// Refuse it.
    Deny,
}

/// Clauses are ANDed.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Rule {
    /// ANDed.
    pub clauses: Vec<Clause>,
}

/// Matches are ORed; none: always matches.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Clause {
    /// ORed.
    pub matches: Vec<Match>,
}

/// Fields are ANDed, values of one field ORed, `not_x`: none may match. All empty: never matches.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[allow(
    missing_docs,
    reason = "field names are those of the proto, which documents them"
)]
pub struct Match {
    pub namespaces: Vec<StringMatch>,
    pub not_namespaces: Vec<StringMatch>,
    pub principals: Vec<StringMatch>,
    pub not_principals: Vec<StringMatch>,
    pub source_ips: Vec<IpNet>,
    pub not_source_ips: Vec<IpNet>,
    pub destination_ips: Vec<IpNet>,
    pub not_destination_ips: Vec<IpNet>,
    pub destination_ports: Vec<u16>,
    pub not_destination_ports: Vec<u16>,
    pub service_accounts: Vec<ServiceAccountMatch>,
    pub not_service_accounts: Vec<ServiceAccountMatch>,
}

/// How a string is compared (`istio.security.StringMatch`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub enum StringMatch {
    /// Equal.
    Exact(String),
    /// Starts with.
    Prefix(String),
    /// Ends with.
    Suffix(String),
    /// Not empty.
    Presence,
}

impl StringMatch {
    /// Reads the notation of AuthorizationPolicy: `*` is presence, `x*` a prefix, `*x` a suffix, all
    /// else is exact.
    pub fn parse(text: &str) -> Self {
        if text == "*" {
            Self::Presence
        } else if let Some(prefix) = text.strip_suffix('*') {
            Self::Prefix(prefix.to_owned())
        } else if let Some(suffix) = text.strip_prefix('*') {
            Self::Suffix(suffix.to_owned())
        } else {
            Self::Exact(text.to_owned())
        }
    }

    /// Whether a text is as wanted.
    pub fn matches(&self, given: &str) -> bool {
        match self {
            Self::Exact(wanted) => wanted == given,
            Self::Prefix(wanted) => given.starts_with(wanted.as_str()),
            Self::Suffix(wanted) => given.ends_with(wanted.as_str()),
            Self::Presence => !given.is_empty(),
        }
    }
}

/// A service account in any trust domain (`istio.security.ServiceAccountMatch`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ServiceAccountMatch {
    /// Kubernetes namespace.
    pub namespace: String,
    /// Name.
    pub service_account: String,
}
