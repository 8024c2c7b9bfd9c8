//! The delta discovery service.
//! In: a `watch` of resource sets, requests. Out: responses, at most one unanswered per type.
//! Owns: nothing but the list of live streams. Must not: serve an unauthorized caller.

use super::auth::{Authorizer, Denied, Introduction};
pub use super::body::compression;
use super::body::{Piecewise, Slot};
use super::client::is_malformed;
use super::turns::{Turn, Turns};
use crate::caller::Caller;
use crate::resource_set::ResourceSet;
use crate::stub::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use crate::wire::server_state::{Event, ProtocolError, ServerState};
use ambit_api::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use ambit_runtime::drain;
use futures::FutureExt as _;
use futures::future::{BoxFuture, OptionFuture};
use rand::Rng;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::sync::{mpsc, watch};
use tokio_stream::Empty;
use tonic::{Code, Request, Response, Status, Streaming};
use tracing::{debug, info, warn};

/// Largest message in either direction.
pub const MAX_MESSAGE: usize = 200 << 20;
/// Responses waiting for a slow stream; it has at most one unanswered per type anyway.
const QUEUE: usize = 8;
/// How long a caller may take to say who it is.
const AUTHORIZE: Duration = Duration::from_secs(10);
/// How long a client may leave responses unread while it asks for more.
const READ: Duration = Duration::from_secs(30);
/// Characters of a client's own words that are logged.
const WORDS: usize = 1024;

/// A stream ends after this long, so that its caller authenticates again.
const LONGEST_STREAM: Duration = Duration::from_secs(30 * 60);
/// Streams served at once.
const MOST_STREAMS: usize = 16_384;

/// What one stream did, for `/debug/syncz`.
#[derive(Clone, Debug)]
pub struct StreamStatus {
    /// Node id the client gave.
    pub node_id: String,
    /// Network that it says it is in.
    pub network: Option<String>,
    /// Who it is.
    pub caller: Caller,
    /// Type URL → everything sent has been answered.
    pub acknowledged: BTreeMap<&'static str, bool>,
}

/// Counts over all streams.
#[derive(Debug, Default)]
pub struct ServerCounters {
    /// Responses sent, by type URL.
    pub pushes: Mutex<BTreeMap<String, u64>>,
    /// Responses refused by clients, by type URL.
    pub rejects: Mutex<BTreeMap<String, u64>>,
    /// Callers turned away, those with messages that cannot be read or asked for too much among them.
    pub denied: AtomicU64,
    /// Streams that ended because a message of the client could not be read.
    pub malformed: AtomicU64,
}

/// The service. Cheap to clone.
#[derive(Clone)]
pub struct Server {
    sets: watch::Receiver<Arc<ResourceSet>>,
    authorizer: Arc<dyn Authorizer>,
    streams: Arc<Mutex<BTreeMap<u64, StreamStatus>>>,
    counters: Arc<ServerCounters>,
    next_stream: Arc<AtomicU64>,
    turns: Turns,
    drain: drain::Watch,
}

impl Server {
    /// Serves whatever `sets` holds. Streams end when `drain` begins.
    pub fn new(
        sets: watch::Receiver<Arc<ResourceSet>>,
        authorizer: Arc<dyn Authorizer>,
        drain: drain::Watch,
    ) -> Self {
        Self {
            sets,
            authorizer,
            streams: Arc::default(),
            counters: Arc::default(),
            next_stream: Arc::default(),
            turns: Turns::default(),
            drain,
        }
    }

    /// The gRPC service, with message limits set.
    pub fn into_service(
        self,
    ) -> Piecewise<AggregatedDiscoveryServiceServer<impl AggregatedDiscoveryService>> {
        let counters = self.counters();
        let service = AggregatedDiscoveryServiceServer::new(self);
        Piecewise {
            service: service.max_decoding_message_size(MAX_MESSAGE),
            counters,
        }
    }

    /// Live streams.
    pub fn streams(&self) -> Vec<StreamStatus> {
        lock(&self.streams).values().cloned().collect()
    }

    /// Counts since start.
    pub fn counters(&self) -> Arc<ServerCounters> {
        self.counters.clone()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // Plain maps: a panic elsewhere leaves them whole.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[tonic::async_trait]
impl AggregatedDiscoveryService for Server {
    /// What is said goes another way: see [`Piecewise`].
    type DeltaAggregatedResourcesStream = Empty<Result<DeltaDiscoveryResponse, Status>>;

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        if lock(&self.streams).len() >= MOST_STREAMS {
            self.counters.denied.fetch_add(1, Ordering::Relaxed);
            return Err(Status::resource_exhausted("too many streams"));
        }
        let authorize = self.authorizer.authorize(request.metadata());
        let caller = match tokio::time::timeout(AUTHORIZE, authorize).await {
            Ok(Ok(caller)) => caller,
            Ok(Err(denied)) => {
                self.counters.denied.fetch_add(1, Ordering::Relaxed);
                warn!(peer = ?request.remote_addr(), error = %denied, "xds stream denied");
                return Err(match denied {
                    Denied::Unauthenticated { .. } => {
                        Status::unauthenticated("authentication failure")
                    }
                    Denied::NotPermitted { .. } => Status::permission_denied("not permitted"),
                });
            }
            Err(_) => {
                self.counters.denied.fetch_add(1, Ordering::Relaxed);
                return Err(Status::unavailable("authentication takes too long"));
            }
        };
        let (sender, receiver) = mpsc::channel(QUEUE);
        let stream = Stream {
            id: self.next_stream.fetch_add(1, Ordering::Relaxed),
            server: self.clone(),
            state: ServerState::new(caller),
            node: Introduction::default(),
            turn: None,
            sender,
        };
        // The stream owns its task: it ends when the client goes, when the queue's other end is
        // dropped with the response, or at drain.
        #[allow(
            clippy::disallowed_methods,
            reason = "ends with the gRPC stream that started it"
        )]
        tokio::spawn(stream.serve(request.into_inner()));
        let mut answer = Response::new(tokio_stream::empty());
        answer.extensions_mut().insert(Slot::new(receiver));
        Ok(answer)
    }
}

struct Stream {
    id: u64,
    server: Server,
    state: ServerState,
    node: Introduction,
    /// While an answer with everything is on its way.
    turn: Option<Turn>,
    sender: mpsc::Sender<Result<DeltaDiscoveryResponse, Status>>,
}

impl Stream {
    async fn serve(mut self, mut requests: Streaming<DeltaDiscoveryRequest>) {
        let mut sets = self.server.sets.clone();
        let mut drain = self.server.drain.clone();
        let age = LONGEST_STREAM.mul_f64(rand::rng().random_range(0.9..1.1));
        let end = tokio::time::Instant::now() + age;
        info!(caller = %self.state.caller(), "xds stream opened");
        let mut waiting: Option<BoxFuture<'static, Turn>> = None;
        let mut set = sets.borrow_and_update().clone();
        loop {
            if self.must_wait(&set) {
                let turns = self.server.turns.clone();
                waiting.get_or_insert_with(|| turns.next().boxed());
            } else if self.push(&set).await.is_err() {
                break;
            }
            // What was begun with one set is ended with it: a type that differs again with every answer would
            // hold back for ever those that are sent after it.
            if self.state.is_answered() && set.generation() != sets.borrow().generation() {
                set = sets.borrow_and_update().clone();
                continue;
            }
            let turn_ends = self.turn.as_ref().map_or(end, |turn| turn.end);
            tokio::select! {
                Some(turn) = OptionFuture::from(waiting.as_mut()) => {
                    waiting = None;
                    self.turn = Some(turn);
                }
                () = tokio::time::sleep_until(turn_ends), if self.turn.is_some() => self.turn = None,
                request = requests.message() => match request {
                    Ok(Some(request)) => {
                        if !self.take(request).await { break }
                    }
                    Ok(None) => break,
                    Err(status) => {
                        self.broke(&status).await;
                        break;
                    }
                },
                changed = sets.changed(), if self.state.is_answered() => if changed.is_err() { break },
                _ = drain.signalled() => break,
                () = tokio::time::sleep_until(end) => break,
                () = self.sender.closed() => break,
            }
        }
        info!(caller = %self.state.caller(), node_id = self.node.id, "xds stream closed");
    }

    /// Whether the next response needs a turn first.
    fn must_wait(&self, set: &ResourceSet) -> bool {
        self.turn.is_none() && Turns::needed(self.state.whole(set))
    }

    /// Sends all that is due.
    async fn push(&mut self, set: &Arc<ResourceSet>) -> Result<(), ()> {
        while let Some(response) = self.state.next_response(set) {
            *lock(&self.server.counters.pushes)
                .entry(response.type_url.clone())
                .or_default() += 1;
            let sent = self.sender.send_timeout(Ok(response), READ).await;
            sent.map_err(|error| self.unread(&error))?;
        }
        self.publish();
        Ok(())
    }

    /// `false` ends the stream.
    async fn take(&mut self, request: DeltaDiscoveryRequest) -> bool {
        if let Some(node) = &request.node
            && !node.id.is_empty()
        {
            let node = Introduction::of(node);
            if self.node != node {
                let caller = self.state.caller();
                self.server.authorizer.introduced(caller, &node);
                self.node = node;
            }
        }
        match self.state.on_request(request) {
            Ok(Event::Nack { type_url, reason }) => {
                *lock(&self.server.counters.rejects)
                    .entry(type_url.clone())
                    .or_default() += 1;
                let error: String = reason.chars().take(WORDS).collect();
                warn!(caller = %self.state.caller(), type_url, error, "xds resources refused by client");
                true
            }
            Ok(_) => {
                if self.state.is_answered() {
                    self.turn = None;
                }
                true
            }
            Err(error) => {
                self.server.counters.denied.fetch_add(1, Ordering::Relaxed);
                warn!(caller = %self.state.caller(), node_id = self.node.id, %error, "xds stream ended");
                let code = match error {
                    ProtocolError::NotServed { .. } => Code::PermissionDenied,
                    ProtocolError::TooManyNames { .. } => Code::ResourceExhausted,
                };
                self.last_words(Status::new(code, error.to_string())).await;
                false
            }
        }
    }

    /// The client went away, or does not read what it asks for.
    fn unread(&self, error: &SendTimeoutError<Result<DeltaDiscoveryResponse, Status>>) {
        if let SendTimeoutError::Timeout(_) = error {
            let caller = self.state.caller();
            warn!(%caller, node_id = self.node.id, "xds stream ended: the client reads no responses");
        }
    }

    /// Tells the client why its stream ends, if it is there and reads.
    async fn last_words(&self, status: Status) {
        let _ = self.sender.send_timeout(Err(status), READ).await;
    }

    /// The client went away, or said something that is no request.
    async fn broke(&self, status: &Status) {
        let caller = self.state.caller();
        if !is_malformed(status) {
            debug!(%caller, error = %status, "xds stream broke");
            return;
        }
        let counters = &self.server.counters;
        counters.malformed.fetch_add(1, Ordering::Relaxed);
        counters.denied.fetch_add(1, Ordering::Relaxed);
        warn!(
            %caller,
            node_id = self.node.id,
            error = status.message(),
            "xds stream ended: a message of the client cannot be read"
        );
        self.last_words(Status::invalid_argument("the message cannot be read"))
            .await;
    }

    fn publish(&self) {
        let status = StreamStatus {
            node_id: self.node.id.clone(),
            network: self.node.network.clone(),
            caller: self.state.caller().clone(),
            acknowledged: self.state.acknowledged().collect(),
        };
        lock(&self.server.streams).insert(self.id, status);
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        lock(&self.server.streams).remove(&self.id);
    }
}

#[cfg(test)]
mod tests;
