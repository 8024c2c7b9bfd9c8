//! `GRPCRoute`, and the HTTPRoute that says the same: a call is a request to `/<service>/<method>`.
//! Spec: Gateway API v1 GRPCRoute; gRPC over HTTP/2, "Path".

use super::http_route::{
    BackendRef, Filter, HttpRouteSpec, NameMatch, ParentRef, PathMatch, PathMatchType, RouteKind,
    RouteMatch, RouteRule,
};
use serde::Deserialize;

/// Fields of the API that are refused with "not supported yet".
pub(crate) const GRPC_ROUTE_UNSUPPORTED: &[&str] = &[
    "spec.useDefaultGateways",
    "spec.rules[].sessionPersistence",
    "spec.rules[].filters[].extensionRef",
    "spec.rules[].backendRefs[].filters[].extensionRef",
];

/// `spec`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GrpcRouteSpec {
    /// Services (mesh) or Gateways it attaches to.
    pub parent_refs: Vec<ParentRef>,
    /// Authority; not used with a Service parent.
    pub hostnames: Vec<String>,
    /// Precedence follows the specificity of matches.
    pub rules: Vec<GrpcRule>,
}

/// `rules[]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GrpcRule {
    /// For logs and references.
    pub name: Option<String>,
    /// ORed; empty means every call.
    pub matches: Vec<GrpcMatch>,
    /// Applied in order; only header modifiers and mirrors.
    pub filters: Vec<Filter>,
    /// Weighted.
    pub backend_refs: Vec<BackendRef>,
}

/// `matches[]`: fields are ANDed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GrpcMatch {
    /// Unset means every method.
    pub method: Option<MethodMatch>,
    /// Metadata; names are compared without case.
    pub headers: Vec<NameMatch>,
}

/// `method`: at least one of the two is set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MethodMatch {
    /// Default `Exact`.
    #[serde(rename = "type")]
    pub kind: MethodMatchType,
    /// Name of the service with its package; unset means every one.
    pub service: Option<String>,
    /// Name of the method; unset means every one.
    pub method: Option<String>,
}

/// `method.type`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum MethodMatchType {
    /// Equal.
    #[default]
    Exact,
    /// RE2, each name as a whole.
    RegularExpression,
}

impl GrpcRouteSpec {
    /// The route it stands for.
    pub(crate) fn as_http(&self) -> HttpRouteSpec {
        HttpRouteSpec {
            written_as: RouteKind::Grpc,
            parent_refs: self.parent_refs.clone(),
            hostnames: self.hostnames.clone(),
            rules: self.rules.iter().map(rule).collect(),
        }
    }
}

fn rule(rule: &GrpcRule) -> RouteRule {
    let one = |m: &GrpcMatch| RouteMatch {
        path: m.method.as_ref().and_then(path),
        headers: m.headers.clone(),
        ..RouteMatch::default()
    };
    RouteRule {
        name: rule.name.clone(),
        matches: rule.matches.iter().map(one).collect(),
        filters: rule.filters.clone(),
        backend_refs: rule.backend_refs.clone(),
        timeouts: None,
    }
}

/// `None` takes every path.
fn path(m: &MethodMatch) -> Option<PathMatch> {
    let [service, method] = [&m.service, &m.method].map(|name| {
        let name = name.as_deref();
        name.filter(|name| !name.is_empty())
    });
    let (kind, value) = match (m.kind, service, method) {
        (_, None, None) => return None,
        (MethodMatchType::Exact, Some(service), Some(method)) => {
            (PathMatchType::Exact, format!("/{service}/{method}"))
        }
        (MethodMatchType::Exact, Some(service), None) => {
            (PathMatchType::PathPrefix, format!("/{service}"))
        }
        (MethodMatchType::Exact, None, Some(method)) => (
            PathMatchType::RegularExpression,
            format!("/{ANY}/{}", regex::escape(method)),
        ),
        (MethodMatchType::RegularExpression, service, method) => (
            PathMatchType::RegularExpression,
            format!("/{}/{}", group(service), group(method)),
        ),
    };
    Some(PathMatch {
        kind,
        value: Some(value),
    })
}

/// Any name.
const ANY: &str = "[^/]+";

fn group(pattern: Option<&str>) -> String {
    pattern.map_or_else(|| ANY.to_owned(), |pattern| format!("(?:{pattern})"))
}
