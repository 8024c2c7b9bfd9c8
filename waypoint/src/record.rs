//! What is known of one request, and its single report: one access line, one set of metrics.
//! In: facts, as they become known. Out: the report, when the last part of the request is gone,
//! whatever ended it.
//! Owns: its facts. Must not happen here: two reports, or none.
//! Spec: Istio standard metrics; Istio's default access log format.

pub(crate) mod access_line;

use crate::downstream::Downstream;
use crate::message::{body, grpc, headers};
use crate::outcome::{DOWNSTREAM_GONE, NO_FLAGS, Said};
use crate::upstream::endpoints::Target;
use ambit_model::route::HttpRoute;
use ambit_telemetry::labels::{
    DestinationService, Peer, Protocol, Reporter, SecurityPolicy, TrafficLabels,
};
use ambit_telemetry::requests::{RequestLabels, RequestSample};
use http::request::Parts;
use http::{HeaderMap, HeaderName, Response, Version};
use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

/// One request, until it is over.
pub(crate) struct Record {
    pub(crate) downstream: Rc<Downstream>,
    pub(crate) started: Instant,
    pub(crate) began: SystemTime,
    pub(crate) facts: RefCell<Facts>,
    grpc: bool,
    request_head: u64,
    request_body: RefCell<Option<Rc<body::Recording>>>,
    /// Bytes of an upgraded connection.
    relayed: Cell<u64>,
    response_bytes: Cell<u64>,
    /// gRPC messages of the response.
    response_messages: RefCell<grpc::Messages>,
}

/// What the report says.
pub(crate) struct Facts {
    pub(crate) method: http::Method,
    /// As received, with the query.
    pub(crate) path: String,
    pub(crate) authority: String,
    pub(crate) version: Version,
    pub(crate) request_id: String,
    pub(crate) user_agent: String,
    pub(crate) forwarded_for: String,
    /// 0: no response was begun.
    pub(crate) status: u16,
    pub(crate) grpc_status: Option<u8>,
    pub(crate) flags: &'static str,
    pub(crate) details: &'static str,
    /// Envoy's details of a denial, in place of `details`.
    pub(crate) denial: Option<String>,
    pub(crate) route: Arc<str>,
    pub(crate) cluster: String,
    pub(crate) endpoint: Option<Target>,
    /// The response has been passed on to its end.
    pub(crate) complete: bool,
}

impl Record {
    /// Begins one.
    pub(crate) fn open(downstream: &Rc<Downstream>, parts: &Parts) -> Rc<Self> {
        let text = |name: HeaderName| {
            let value = parts.headers.get(name);
            value.map_or_else(String::new, |v| {
                String::from_utf8_lossy(v.as_bytes()).into_owned()
            })
        };
        let target = parts.uri.path_and_query().map_or("/", |p| p.as_str());
        let facts = Facts {
            method: parts.method.clone(),
            path: target.to_owned(),
            authority: String::new(),
            version: parts.version,
            request_id: text(headers::X_REQUEST_ID),
            user_agent: text(http::header::USER_AGENT),
            forwarded_for: text(headers::X_FORWARDED_FOR),
            status: 0,
            grpc_status: None,
            flags: NO_FLAGS,
            details: "",
            denial: None,
            route: Arc::from(""),
            cluster: String::new(),
            endpoint: None,
            complete: false,
        };
        let line = parts.method.as_str().len() + target.len();
        Rc::new(Self {
            downstream: downstream.clone(),
            started: Instant::now(),
            began: SystemTime::now(),
            facts: RefCell::new(facts),
            grpc: headers::is_grpc(&parts.headers),
            request_head: line as u64 + headers::size(&parts.headers),
            request_body: RefCell::default(),
            relayed: Cell::new(0),
            response_bytes: Cell::new(0),
            response_messages: RefCell::default(),
        })
    }

    /// Begins and ends one for bytes that are no request.
    pub(crate) fn nameless(downstream: &Rc<Downstream>, version: Version) -> Rc<Self> {
        let (mut parts, ()) = http::Request::new(()).into_parts();
        parts.version = version;
        let record = Self::open(downstream, &parts);
        {
            let mut facts = record.facts.borrow_mut();
            facts.method = http::Method::from_bytes(b"-").unwrap_or_default();
            facts.path = "-".to_owned();
            facts.complete = true;
        }
        record
    }

    /// Whether the client speaks gRPC.
    pub(crate) fn is_grpc(&self) -> bool {
        self.grpc
    }

    /// The authority, once it has been understood.
    pub(crate) fn authority(&self, authority: &str) {
        authority.clone_into(&mut self.facts.borrow_mut().authority);
    }

    /// The id under which the request goes on.
    pub(crate) fn request_id(&self, headers: &HeaderMap) {
        if let Some(id) = headers.get(headers::X_REQUEST_ID) {
            self.facts.borrow_mut().request_id =
                String::from_utf8_lossy(id.as_bytes()).into_owned();
        }
    }

    /// The route taken.
    pub(crate) fn route(&self, route: &HttpRoute) {
        self.facts.borrow_mut().route = route.name.clone();
    }

    /// The body, whose bytes are counted.
    pub(crate) fn body(&self, recording: &Rc<body::Recording>) {
        *self.request_body.borrow_mut() = Some(recording.clone());
    }

    /// The endpoint that is tried.
    pub(crate) fn endpoint(&self, target: &Target) {
        let mut facts = self.facts.borrow_mut();
        facts.cluster = target.cluster.name.to_string();
        facts.endpoint = Some(target.clone());
    }

    /// Which of several addresses it was.
    pub(crate) fn reached(&self, peer: Option<SocketAddr>) {
        let mut facts = self.facts.borrow_mut();
        if let (Some(peer), Some(target)) = (peer, &mut facts.endpoint) {
            target.address = peer;
        }
    }

    /// Flags and details.
    pub(crate) fn say(&self, flags: &'static str, details: &'static str) {
        let mut facts = self.facts.borrow_mut();
        facts.flags = flags;
        facts.details = details;
    }

    /// A policy refuses it, in Envoy's words.
    pub(crate) fn denied(&self, details: String) {
        self.facts.borrow_mut().denial = Some(details);
    }

    /// What is said of a failure.
    pub(crate) fn failed(&self, said: &Said) {
        self.say(said.flags, said.details);
        if said.blame == crate::outcome::Blame::Us {
            tracing::warn!(
                dst.service = %self.downstream.addressed,
                error = said.details,
                "request failed because of this waypoint or its configuration"
            );
        }
    }

    /// The HTTP library answered in our place.
    pub(crate) fn answered(&self, said: &Said) {
        self.facts.borrow_mut().status = said.status.as_u16();
    }

    /// Response headers are on their way to the client.
    pub(crate) fn responding(&self, response: &Response<impl Sized>) {
        let mut facts = self.facts.borrow_mut();
        facts.status = response.status().as_u16();
        if self.grpc {
            facts.grpc_status = headers::grpc_status(response.headers());
        }
        self.response_bytes.set(headers::size(response.headers()));
    }

    /// A piece of the response body.
    pub(crate) fn sent_data(&self, data: &[u8]) {
        self.sent(data.len() as u64);
        if self.grpc {
            self.response_messages.borrow_mut().saw(data);
        }
    }

    /// Bytes of the response body.
    pub(crate) fn sent(&self, bytes: u64) {
        self.response_bytes.set(self.response_bytes.get() + bytes);
    }

    /// Bytes the client sent after an upgrade.
    pub(crate) fn received(&self, bytes: u64) {
        self.relayed.set(self.relayed.get() + bytes);
    }

    /// Trailers of the response.
    pub(crate) fn trailers(&self, trailers: &HeaderMap) {
        if self.grpc
            && let Some(status) = headers::grpc_status(trailers)
        {
            self.facts.borrow_mut().grpc_status = Some(status);
        }
    }

    /// The response has been passed on to its end.
    pub(crate) fn completed(&self) {
        self.facts.borrow_mut().complete = true;
    }

    /// Bytes received from the client.
    pub(crate) fn request_bytes(&self) -> u64 {
        let body = self.request_body.borrow();
        self.request_head + self.relayed.get() + body.as_ref().map_or(0, |b| b.received())
    }

    /// Bytes sent to the client.
    pub(crate) fn response_bytes(&self) -> u64 {
        self.response_bytes.get()
    }

    /// gRPC messages received from the client.
    fn request_messages(&self) -> u64 {
        let body = self.request_body.borrow();
        body.as_ref().map_or(0, |b| b.messages())
    }

    fn labels(&self, facts: &Facts) -> RequestLabels {
        let downstream = &self.downstream;
        let endpoint = facts.endpoint.as_ref();
        let destination = endpoint.map_or_else(Peer::default, |target| {
            let proved = target
                .is_tunnelled()
                .then(|| target.workload.identity.clone());
            Peer::of(&target.workload).with_principal(proved)
        });
        let ends = match downstream.is_from_outside() {
            true => Ends::of_gateway(downstream, endpoint),
            false => Ends::of_waypoint(downstream),
        };
        RequestLabels {
            common: TrafficLabels {
                reporter: ends.reporter,
                source: ends.source,
                destination,
                service: ends.service,
                protocol: if self.grpc {
                    Protocol::Grpc
                } else {
                    Protocol::Http
                },
                response_flags: facts.flags,
                security: ends.security,
                join: None,
            },
            response_code: facts.status,
            grpc_status: facts.grpc_status,
        }
    }

    /// Since it began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The client's address.
    pub(crate) fn client(&self) -> SocketAddr {
        self.downstream.client
    }
}

/// What metrics say of the connection beside its destination.
struct Ends {
    reporter: Reporter,
    source: Peer,
    service: DestinationService,
    security: SecurityPolicy,
}

impl Ends {
    /// A waypoint stands between two others.
    fn of_waypoint(downstream: &Downstream) -> Self {
        Self {
            reporter: Reporter::Waypoint,
            source: downstream.source.clone(),
            service: downstream.addressed.labels(),
            security: SecurityPolicy::MutualTls,
        }
    }

    /// A gateway is the source of what it lets in: the service is the one its route chose.
    fn of_gateway(downstream: &Downstream, endpoint: Option<&Target>) -> Self {
        let worker = &downstream.worker;
        let view = worker.state.load();
        let service = endpoint.and_then(|t| view.mesh.service(&t.cluster.service));
        let tunnelled = endpoint.is_some_and(Target::is_tunnelled);
        let proved = tunnelled.then(|| worker.me.identity.clone());
        Self {
            reporter: Reporter::Source,
            source: downstream.source.clone().with_principal(proved),
            service: service
                .map_or_else(DestinationService::default, |s| DestinationService::of(s)),
            security: match tunnelled {
                true => SecurityPolicy::MutualTls,
                false => SecurityPolicy::Unknown,
            },
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        {
            let mut facts = self.facts.borrow_mut();
            if !facts.complete && facts.flags == NO_FLAGS {
                facts.flags = DOWNSTREAM_GONE;
                facts.details = "downstream_remote_disconnect";
            }
        }
        let facts = self.facts.borrow();
        let worker = &self.downstream.worker;
        let series = worker.series.requests.resolve(&self.labels(&facts));
        series.observe(&RequestSample {
            duration: self.elapsed(),
            request_bytes: self.request_bytes(),
            response_bytes: self.response_bytes(),
            request_messages: self.request_messages(),
            response_messages: self.response_messages.borrow().count(),
        });
        access_line::request(worker, self, &facts);
    }
}
