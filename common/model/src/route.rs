//! L7 routes as a waypoint runs them: routers, clusters and who serves them.
//! In: `ambit.route.v1` through `convert::route`: expressions compiled, header names and statuses
//! checked. Out: values `ambit-routing::http` matches and the waypoint executes.
//! Never here: addresses or health of endpoints, which come from workloads alone.

mod access;
mod matching;
mod rewrite;
mod virtual_host;

pub use access::{
    AccessClause, AccessMatch, AccessPolicy, AccessRule, AccessTest, Gateway, PathPattern,
    PathTemplate, Wanted,
};
pub use matching::{
    FullMatch, HeaderMatch, HttpMatch, MatchedHeader, PathKind, PathMatch, QueryMatch, TextMatch,
};
pub use rewrite::{
    HeaderOps, PathRewrite, Redirect, RedirectPort, Rewrite, Substitution, SubstitutionPart,
};
pub use virtual_host::{VirtualHost, host_below};

use crate::ids::{ClusterName, ServiceKey, WorkloadUid};
use http::StatusCode;
use serde::{Serialize, Serializer};
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// All routes of one service port at one gateway (`ambit.route.v1.Router`).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Router {
    /// `<namespace>/<name>` of the Gateway that runs it.
    pub gateway: Arc<str>,
    /// What is addressed.
    pub addressed: Addressee,
    /// Its port.
    pub port: u16,
    /// What is spoken on it.
    pub protocol: Protocol,
    /// First match wins; no match is 404.
    pub http: Vec<HttpRoute>,
    /// First wins; for bytes that are not HTTP.
    pub tcp: Vec<TcpRoute>,
    /// Who may do what, beside the gateway's own policies.
    pub policies: Vec<AccessPolicy>,
    /// The service is a wildcard, and only requests whose Host is below it are taken; others are 404.
    pub by_host: bool,
}

impl Router {
    /// Whether it is for requests to an authority (`Host`, `:authority`) at all.
    pub fn takes(&self, authority: &str) -> bool {
        match &self.addressed {
            Addressee::Service(key) if self.by_host => {
                host_below(&key.hostname, authority).is_some()
            }
            _ => true,
        }
    }
}

/// What a router is for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub enum Addressee {
    /// A service, by one of its virtual addresses.
    Service(ServiceKey),
    /// A virtual host of a plaintext listener.
    Host(VirtualHost),
}

impl fmt::Display for Addressee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(key) => write!(f, "{key}"),
            Self::Host(host) => write!(f, "listener/{host}"),
        }
    }
}

/// What is spoken on a port (`ambit.route.v1.Protocol`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize)]
pub enum Protocol {
    /// Told by the first bytes.
    #[default]
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
    /// gRPC over HTTP/2.
    Grpc,
    /// Bytes.
    Tcp,
}

/// One route.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HttpRoute {
    /// For logs; may be empty.
    pub name: Arc<str>,
    /// The object and place it came from, for people.
    pub source: Arc<str>,
    /// ORed; none: every request.
    pub matches: Vec<HttpMatch>,
    /// What happens.
    pub action: Action,
    /// Applied to the request before it is forwarded.
    pub request_headers: HeaderOps,
    /// Applied to the response.
    pub response_headers: HeaderOps,
    /// Applied to the request after matching.
    pub rewrite: Option<Rewrite>,
    /// From the end of the request's headers to the end of the response; `None`: unlimited.
    pub timeout: Option<Duration>,
    /// `None`: the request is tried once.
    pub retry: Option<Retry>,
    /// Delays and aborts to inject.
    pub fault: Fault,
    /// Copies, fire and forget.
    pub mirrors: Vec<Mirror>,
}

/// What a route does.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub enum Action {
    /// Sends it to one of these. Empty or all weights 0: 500.
    Forward(Vec<WeightedCluster>),
    /// Answers with another place.
    Redirect(Redirect),
    /// Answers itself.
    DirectResponse(DirectResponse),
}

/// One of several destinations.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WeightedCluster {
    /// The destination.
    pub cluster: ClusterName,
    /// Relative share; 0 takes nothing.
    pub weight: u32,
    /// Applied to requests that go here.
    pub request_headers: HeaderOps,
    /// Applied to responses from here.
    pub response_headers: HeaderOps,
}

/// A fixed answer.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DirectResponse {
    /// Status, 200 to 599.
    #[serde(serialize_with = "status")]
    pub status: StatusCode,
    /// Body; may be empty.
    pub body: Arc<[u8]>,
}

/// When and how often a request is sent again.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Retry {
    /// Beyond the first try, at least 1.
    pub attempts: u32,
    /// `None`: only the route's timeout counts.
    pub per_try_timeout: Option<Duration>,
    /// Conditions, ORed.
    pub on: Vec<RetryOn>,
    /// For [`RetryOn::RetriableStatusCodes`].
    pub status_codes: Vec<u16>,
    /// First back-off; doubles up to ten times itself, with jitter.
    pub backoff_base: Duration,
}

/// A condition to try again, with Envoy's meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum RetryOn {
    /// No connection could be made.
    ConnectFailure,
    /// HTTP/2 REFUSED_STREAM.
    RefusedStream,
    /// gRPC status 14 in the response headers.
    Unavailable,
    /// gRPC status 1.
    Cancelled,
    /// One of `Retry::status_codes`.
    RetriableStatusCodes,
    /// Any 5xx, or no response.
    FiveXx,
    /// 502, 503, 504.
    GatewayError,
    /// No response at all.
    Reset,
    /// 409.
    Retriable4xx,
    /// Reset before the request was sent.
    ResetBeforeRequest,
    /// gRPC status 4.
    DeadlineExceeded,
    /// gRPC status 8.
    ResourceExhausted,
    /// gRPC status 13.
    Internal,
}

/// Faults to inject; by default none.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Fault {
    /// Waits first.
    pub delay: Option<Delay>,
    /// Answers instead.
    pub abort: Option<Abort>,
}

/// An injected delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Delay {
    /// How long.
    pub fixed: Duration,
    /// Of how many requests.
    pub share: PartsPerMillion,
}

/// An injected answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Abort {
    /// Which.
    pub status: AbortStatus,
    /// Of how many requests.
    pub share: PartsPerMillion,
}

/// The answer of an [`Abort`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum AbortStatus {
    /// An HTTP status.
    Http(#[serde(serialize_with = "status")] StatusCode),
    /// A gRPC status number, in a 200 response without a body.
    Grpc(u32),
}

/// A share of all requests, 0 to 1 000 000.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct PartsPerMillion(u32);

impl PartsPerMillion {
    /// Everything.
    pub const ALL: u32 = 1_000_000;

    /// Caps at everything.
    pub fn new(parts: u32) -> Self {
        Self(parts.min(Self::ALL))
    }

    /// The number.
    pub fn get(self) -> u32 {
        self.0
    }
}

/// Where copies of a request go.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mirror {
    /// The destination.
    pub cluster: ClusterName,
    /// Of how many requests.
    pub share: PartsPerMillion,
}

/// A route for bytes.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TcpRoute {
    /// The object and place it came from, for people.
    pub source: Arc<str>,
    /// One is picked per connection.
    pub clusters: Vec<WeightedCluster>,
}

/// Where a route may send (`ambit.route.v1.Cluster`).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Cluster {
    /// `<namespace>/<hostname>/<port>[/<subset>]`.
    pub name: ClusterName,
    /// The service it is part of.
    pub service: ServiceKey,
    /// The service port.
    pub port: u16,
    /// Empty: all of the service.
    pub subset: Arc<str>,
    /// What its endpoints speak.
    pub protocol: Protocol,
    /// How one of them is chosen.
    pub load_balancer: LoadBalancer,
    /// Limit of one connection attempt, handshakes included.
    pub connect_timeout: Duration,
    /// Address of the service where its waypoint stands in between: the endpoints are those of the
    /// waypoint, asked by HBONE for this. `None`: endpoints are the service's own.
    pub authority: Option<SocketAddr>,
    /// Each request goes to an address of its Host, which is below the wildcard that the service is, at this
    /// port. `None`: there are endpoints.
    pub by_host: Option<u16>,
    /// Addresses of an endpoint that has only a name are raced; else each is an endpoint of its own.
    pub race: bool,
}

/// How an endpoint is chosen (`ambit.route.v1.LoadBalancer`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub enum LoadBalancer {
    /// The less busy of two picked at random.
    #[default]
    LeastRequest,
    /// In turn.
    RoundRobin,
    /// At random.
    Random,
}

/// Who serves a cluster (`ambit.route.v1.Endpoints`).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Endpoints {
    /// The cluster.
    pub cluster: ClusterName,
    /// Its members; a workload that is not known yet takes nothing.
    pub endpoints: Vec<Endpoint>,
}

/// One member of a cluster.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Endpoint {
    /// The workload.
    pub workload: WorkloadUid,
    /// Its port.
    pub target_port: u16,
    /// Relative share, at least 1.
    pub weight: u32,
}

fn status<S: Serializer>(status: &StatusCode, s: S) -> Result<S::Ok, S::Error> {
    s.serialize_u16(status.as_u16())
}

fn text<S: Serializer>(value: &impl fmt::Display, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(value)
}
