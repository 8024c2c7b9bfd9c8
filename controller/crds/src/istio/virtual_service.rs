//! `VirtualService` (istio/api networking/v1/virtual_service.proto), the part waypoints execute.

use crate::duration::istio as duration;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Fields of the API that are refused with "not supported yet".
pub(crate) const VIRTUAL_SERVICE_UNSUPPORTED: &[&str] = &[
    "spec.tls",
    "spec.tcp",
    "spec.http[].delegate",
    "spec.http[].corsPolicy",
    "spec.http[].websocketUpgrade",
    "spec.http[].mirrorPercent",
    "spec.http[].mirror_percent",
    "spec.http[].match[].sourceLabels",
    "spec.http[].match[].sourceNamespace",
    "spec.http[].match[].statPrefix",
    "spec.http[].fault.delay.percent",
    "spec.http[].fault.delay.exponentialDelay",
    "spec.http[].fault.abort.percent",
    "spec.http[].fault.abort.http2Error",
    "spec.http[].retries.retryRemoteLocalities",
    "spec.http[].retries.retryIgnorePreviousHosts",
];

/// `spec`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct VirtualServiceSpec {
    /// Services it routes, short or full names.
    pub hosts: Vec<String>,
    /// Empty or with `mesh`; other gateways are refused unless `mesh` is there too.
    pub gateways: Vec<String>,
    /// First match wins.
    pub http: Vec<HttpRoute>,
    /// Namespaces that see it: `.`, `*` or names; empty means all.
    pub export_to: Vec<String>,
}

/// `http[]`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRoute {
    /// For logs and metrics.
    pub name: String,
    /// ORed; empty takes everything.
    #[serde(rename = "match")]
    pub matches: Vec<HttpMatch>,
    /// Weighted destinations.
    pub route: Vec<WeightedDestination>,
    /// Instead of `route`.
    pub redirect: Option<Redirect>,
    /// Instead of `route`.
    pub direct_response: Option<DirectResponse>,
    /// Before forwarding.
    pub rewrite: Option<Rewrite>,
    /// Whole request; unset or zero means none.
    #[serde(deserialize_with = "duration")]
    pub timeout: Option<Duration>,
    /// Unset means the mesh default.
    pub retries: Option<Retries>,
    /// Injected faults.
    pub fault: Option<Fault>,
    /// One mirror, with `mirrorPercentage`.
    pub mirror: Option<Destination>,
    /// Share of `mirror`, default all.
    pub mirror_percentage: Option<Percent>,
    /// Instead of `mirror`.
    pub mirrors: Vec<Mirror>,
    /// Header changes of all destinations.
    pub headers: Option<Headers>,
}

/// `match[]`: fields are ANDed.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpMatch {
    /// For logs.
    pub name: String,
    /// Path without query.
    pub uri: Option<StringMatch>,
    /// `http` or `https`.
    pub scheme: Option<StringMatch>,
    /// Method.
    pub method: Option<StringMatch>,
    /// Host header.
    pub authority: Option<StringMatch>,
    /// All must match; an empty match means present.
    pub headers: BTreeMap<String, StringMatch>,
    /// None may match.
    pub without_headers: BTreeMap<String, StringMatch>,
    /// All must match.
    pub query_params: BTreeMap<String, StringMatch>,
    /// Service port the request was addressed to.
    pub port: Option<u16>,
    /// Gateways this entry is for; must include `mesh` when given.
    pub gateways: Vec<String>,
    /// For exact and prefix uri.
    pub ignore_uri_case: bool,
}

/// One of three; none is set in a presence match of headers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StringMatch {
    /// Equal.
    pub exact: Option<String>,
    /// Raw string prefix.
    pub prefix: Option<String>,
    /// RE2, whole value.
    pub regex: Option<String>,
}

/// `route[]`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WeightedDestination {
    /// Where to.
    pub destination: Option<Destination>,
    /// Relative; a lone destination of weight 0 takes all.
    pub weight: u32,
    /// Header changes of this destination.
    pub headers: Option<Headers>,
}

/// `destination`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Destination {
    /// Service, short or full name.
    pub host: String,
    /// Of a DestinationRule; empty means the whole service.
    pub subset: String,
    /// May be unset when the service has one port.
    pub port: Option<PortSelector>,
}

/// `destination.port`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PortSelector {
    /// Service port.
    pub number: u16,
}

/// `headers`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Headers {
    /// Of the request.
    pub request: Option<HeaderOperations>,
    /// Of the response.
    pub response: Option<HeaderOperations>,
}

/// Header changes: set, then add, then remove.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HeaderOperations {
    /// Overwrites.
    pub set: BTreeMap<String, String>,
    /// Appends.
    pub add: BTreeMap<String, String>,
    /// Removes.
    pub remove: Vec<String>,
}

/// `redirect`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Redirect {
    /// Replaces the whole path.
    pub uri: Option<String>,
    /// Replaces the matched prefix.
    pub prefix_rewrite: Option<String>,
    /// Replaces the host.
    pub authority: Option<String>,
    /// Replaces the scheme.
    pub scheme: Option<String>,
    /// Replaces the port.
    pub port: Option<u16>,
    /// Instead of `port`.
    pub derive_port: Option<DerivePort>,
    /// 301 when 0 or unset; 302, 303, 307 or 308.
    pub redirect_code: Option<u16>,
}

/// `redirect.derivePort`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum DerivePort {
    /// 80 or 443.
    #[serde(rename = "FROM_PROTOCOL_DEFAULT")]
    FromProtocolDefault,
    /// The port of the request.
    #[serde(rename = "FROM_REQUEST_PORT")]
    FromRequestPort,
}

/// `directResponse`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DirectResponse {
    /// Status code.
    pub status: u16,
    /// Body.
    pub body: Option<DirectResponseBody>,
}

/// `directResponse.body`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DirectResponseBody {
    /// Text.
    pub string: Option<String>,
    /// Base64, instead of `string`.
    pub bytes: Option<String>,
}

/// `rewrite`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Rewrite {
    /// Replaces the matched prefix, or the whole path of an exact or regex match.
    pub uri: Option<String>,
    /// Replaces the host.
    pub authority: Option<String>,
    /// Instead of `uri`.
    pub uri_regex_rewrite: Option<RegexRewrite>,
}

/// `rewrite.uriRegexRewrite`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RegexRewrite {
    /// RE2.
    #[serde(rename = "match")]
    pub pattern: String,
    /// `\1` refers to a group.
    pub rewrite: String,
}

/// `retries`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Retries {
    /// Beyond the first try; 0 disables.
    pub attempts: u32,
    /// Unset means the route's timeout.
    #[serde(deserialize_with = "duration")]
    pub per_try_timeout: Option<Duration>,
    /// Comma-separated conditions; numbers are status codes.
    pub retry_on: Option<String>,
    /// Base of the exponential pause.
    #[serde(deserialize_with = "duration")]
    pub backoff: Option<Duration>,
}

/// `fault`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Fault {
    /// Delays before forwarding.
    pub delay: Option<Delay>,
    /// Answers instead of forwarding.
    pub abort: Option<Abort>,
}

/// `fault.delay`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Delay {
    /// How long.
    #[serde(deserialize_with = "duration")]
    pub fixed_delay: Option<Duration>,
    /// Share of requests; unset means none.
    pub percentage: Option<Percent>,
}

/// `fault.abort`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Abort {
    /// HTTP status, 200 to 599.
    pub http_status: Option<u16>,
    /// gRPC status name such as `UNAVAILABLE`, instead of `httpStatus`.
    pub grpc_status: Option<String>,
    /// Share of requests; unset means none.
    pub percentage: Option<Percent>,
}

/// A percentage, 0 to 100.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Percent {
    /// Percent.
    pub value: f64,
}

impl Percent {
    /// Millionths of all requests.
    pub fn ppm(self) -> u32 {
        #[allow(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to 0..=100 before"
        )]
        let ppm = (self.value.clamp(0.0, 100.0) * 10_000.0).round() as u32;
        ppm
    }
}

/// `mirrors[]`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Mirror {
    /// Where to.
    pub destination: Option<Destination>,
    /// Share of requests, default all.
    pub percentage: Option<Percent>,
}
