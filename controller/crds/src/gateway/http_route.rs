//! `HTTPRoute`, the part waypoints execute.

use crate::duration::gateway as duration;
use crate::key::Kind;
use serde::Deserialize;
use std::time::Duration;

/// Fields of the API that are refused with "not supported yet".
pub(crate) const HTTP_ROUTE_UNSUPPORTED: &[&str] = &[
    "spec.useDefaultGateways",
    "spec.rules[].retry",
    "spec.rules[].sessionPersistence",
    "spec.rules[].filters[].cors",
    "spec.rules[].filters[].extensionRef",
    "spec.rules[].filters[].externalAuth",
    "spec.rules[].backendRefs[].filters[].cors",
    "spec.rules[].backendRefs[].filters[].extensionRef",
    "spec.rules[].backendRefs[].filters[].externalAuth",
];

/// The kind that a route was written as.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RouteKind {
    /// HTTPRoute.
    #[default]
    Http,
    /// GRPCRoute: its calls were made paths.
    Grpc,
}

impl RouteKind {
    /// The kind of the object.
    pub fn kind(self) -> Kind {
        match self {
            Self::Http => Kind::HttpRoute,
            Self::Grpc => Kind::GrpcRoute,
        }
    }
}

/// `spec`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRouteSpec {
    /// No field of the API.
    #[serde(skip)]
    pub written_as: RouteKind,
    /// Services (mesh) or Gateways it attaches to.
    pub parent_refs: Vec<ParentRef>,
    /// Host header; not used with a Service parent.
    pub hostnames: Vec<String>,
    /// Precedence follows the specificity of matches.
    pub rules: Vec<RouteRule>,
}

/// `parentRefs[]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ParentRef {
    /// Unset means Gateway API's; empty means core.
    pub group: Option<String>,
    /// Unset means `Gateway`.
    pub kind: Option<String>,
    /// Unset means the route's.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
    /// Listener of a Gateway.
    pub section_name: Option<String>,
    /// Port of a Service; unset means all.
    pub port: Option<u16>,
}

/// `rules[]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteRule {
    /// For logs and references.
    pub name: Option<String>,
    /// ORed; empty means every path.
    pub matches: Vec<RouteMatch>,
    /// Applied in order.
    pub filters: Vec<Filter>,
    /// Weighted; none without a redirect answers 500.
    pub backend_refs: Vec<BackendRef>,
    /// Deadlines.
    pub timeouts: Option<Timeouts>,
}

/// `matches[]`: fields are ANDed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RouteMatch {
    /// Unset means the prefix `/`.
    pub path: Option<PathMatch>,
    /// Names are compared without case.
    pub headers: Vec<NameMatch>,
    /// Names are compared exactly.
    pub query_params: Vec<NameMatch>,
    /// Upper case.
    pub method: Option<String>,
}

/// `path`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PathMatch {
    /// Default `PathPrefix`.
    #[serde(rename = "type")]
    pub kind: PathMatchType,
    /// Unset means `/`.
    pub value: Option<String>,
}

/// `path.type`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum PathMatchType {
    /// Equal.
    Exact,
    /// Whole segments.
    #[default]
    PathPrefix,
    /// RE2, whole path.
    RegularExpression,
}

/// `headers[]` and `queryParams[]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct NameMatch {
    /// Default `Exact`.
    #[serde(rename = "type")]
    pub kind: HeaderMatchType,
    /// Name.
    pub name: String,
    /// Value or pattern.
    pub value: String,
}

/// `headers[].type`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum HeaderMatchType {
    /// Equal.
    #[default]
    Exact,
    /// RE2, whole value.
    RegularExpression,
}

/// `filters[]`: the field named by `type` is set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Filter {
    /// Required.
    #[serde(rename = "type")]
    pub kind: Option<FilterType>,
    /// Changes of request headers.
    pub request_header_modifier: Option<HeaderFilter>,
    /// Changes of response headers.
    pub response_header_modifier: Option<HeaderFilter>,
    /// Instead of forwarding.
    pub request_redirect: Option<RequestRedirect>,
    /// Before forwarding.
    pub url_rewrite: Option<UrlRewrite>,
    /// A copy to another backend.
    pub request_mirror: Option<RequestMirror>,
}

/// `filters[].type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize)]
pub enum FilterType {
    /// `requestHeaderModifier`.
    RequestHeaderModifier,
    /// `responseHeaderModifier`.
    ResponseHeaderModifier,
    /// `requestRedirect`.
    RequestRedirect,
    /// `urlRewrite`.
    #[serde(rename = "URLRewrite")]
    UrlRewrite,
    /// `requestMirror`.
    RequestMirror,
    /// Refused by validation.
    #[serde(rename = "CORS")]
    Cors,
    /// Refused by validation.
    ExtensionRef,
    /// Refused by validation.
    ExternalAuth,
}

/// `requestHeaderModifier`, `responseHeaderModifier`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HeaderFilter {
    /// Overwrites.
    pub set: Vec<HttpHeader>,
    /// Appends.
    pub add: Vec<HttpHeader>,
    /// Removes.
    pub remove: Vec<String>,
}

/// A header.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpHeader {
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
}

/// `requestRedirect`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RequestRedirect {
    /// `http` or `https`; unset keeps it.
    pub scheme: Option<String>,
    /// Unset keeps it.
    pub hostname: Option<String>,
    /// Unset keeps it.
    pub path: Option<PathModifier>,
    /// Unset follows the scheme.
    pub port: Option<u16>,
    /// Default 302.
    pub status_code: Option<u16>,
}

/// `urlRewrite`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct UrlRewrite {
    /// Unset keeps it.
    pub hostname: Option<String>,
    /// Unset keeps it.
    pub path: Option<PathModifier>,
}

/// `path` of a redirect or rewrite: the field named by `type` is set.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PathModifier {
    /// Required.
    #[serde(rename = "type")]
    pub kind: Option<PathModifierType>,
    /// Whole path.
    pub replace_full_path: Option<String>,
    /// The matched prefix, by segments.
    pub replace_prefix_match: Option<String>,
}

/// `path.type` of a redirect or rewrite.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum PathModifierType {
    /// `replaceFullPath`.
    ReplaceFullPath,
    /// `replacePrefixMatch`.
    ReplacePrefixMatch,
}

/// `requestMirror`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RequestMirror {
    /// Where to.
    pub backend_ref: BackendRef,
    /// 0 to 100; unset means all. Exclusive with `fraction`.
    pub percent: Option<u32>,
    /// Share of requests.
    pub fraction: Option<Fraction>,
}

/// `fraction`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Fraction {
    /// Part.
    pub numerator: u32,
    /// Whole; unset means 100.
    pub denominator: Option<u32>,
}

/// `backendRefs[]` and `requestMirror.backendRef`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BackendRef {
    /// Unset or empty means core.
    pub group: Option<String>,
    /// Unset means `Service`.
    pub kind: Option<String>,
    /// Unset means the route's.
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
    /// Required for a Service.
    pub port: Option<u16>,
    /// Unset means 1; 0 takes nothing.
    pub weight: Option<u32>,
    /// Only header modifiers.
    pub filters: Vec<Filter>,
}

/// `timeouts`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Timeouts {
    /// Whole request; zero means none.
    #[serde(deserialize_with = "duration")]
    pub request: Option<Duration>,
    /// One try; at most `request`.
    #[serde(deserialize_with = "duration")]
    pub backend_request: Option<Duration>,
}
