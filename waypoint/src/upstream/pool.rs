//! HTTP connections of one worker, by endpoint.
//! In: a target and a request. Out: a response. HTTP/1.1 connections are lent for one request at a
//! time and come back when its response has been read; HTTP/2 connections carry many, one dial at a
//! time per endpoint.
//! Owns: idle and shared connections. A request that a stale connection never sent is repeated on
//! another at once; one that may have been sent is only if that cannot matter (`again`).

mod handshake;

pub(crate) use handshake::LocalExecutor;

use super::Upstreams;
use super::again::Again;
use super::connect::Beneath;
use super::endpoints::Target;
use crate::message::body::Body;
use crate::outcome::ConnectFailure;
use ambit_model::ids::SpiffeId;
use ambit_model::route::Protocol;
use ambit_routing::http::retry::TryEnd;
use foldhash::HashMap;
use futures::FutureExt;
use futures::future::{LocalBoxFuture, Shared};
use handshake::{handshake1, handshake2};
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Idle HTTP/1.1 connections kept per endpoint.
const KEPT: usize = 64;
/// Endpoints that connections are kept to; where names of requests lead, clients decide how many there are.
const ENDPOINTS: usize = 2048;
/// How long a connection may be idle (Envoy's default is one hour; servers give up far sooner).
const IDLE: Duration = Duration::from_secs(60);
/// How often idle connections are looked for.
pub(crate) const SWEEP: Duration = Duration::from_secs(15);

/// Which HTTP is spoken to the endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Version {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2 with prior knowledge.
    Http2,
}

impl Version {
    /// What is spoken with an endpoint: what its port declares, else what the client speaks.
    pub(crate) fn towards(target: &Target, client: http::Version) -> Self {
        match target.cluster.protocol {
            Protocol::Http2 | Protocol::Grpc => Self::Http2,
            Protocol::Http1 => Self::Http1,
            Protocol::Auto | Protocol::Tcp if client == http::Version::HTTP_2 => Self::Http2,
            Protocol::Auto | Protocol::Tcp => Self::Http1,
        }
    }

    /// As a message says it.
    pub(crate) fn in_message(self) -> http::Version {
        match self {
            Self::Http1 => http::Version::HTTP_11,
            Self::Http2 => http::Version::HTTP_2,
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    address: SocketAddr,
    host: IpAddr,
    expected: Arc<[SpiffeId]>,
}

/// Connections of one worker.
#[derive(Default)]
pub(crate) struct HttpPool {
    idle: RefCell<HashMap<Key, Vec<Idle>>>,
    shared: RefCell<HashMap<Key, Common>>,
}

struct Common {
    dial: Dial,
    used: Instant,
}

struct Idle {
    sender: Sender1,
    since: Instant,
}

/// An HTTP/1.1 connection's sending end.
struct Sender1 {
    http: http1::SendRequest<Body>,
    beneath: Beneath,
    peer: Option<SocketAddr>,
}

/// An HTTP/2 connection's sending end.
#[derive(Clone)]
struct Sender2 {
    http: http2::SendRequest<Body>,
    beneath: Beneath,
    peer: Option<SocketAddr>,
}

type Dial = Shared<LocalBoxFuture<'static, Result<Sender2, ConnectFailure>>>;

/// A response and the connection it came on.
pub(crate) struct Answered {
    pub(crate) response: Response<Incoming>,
    /// Whom a connection without a tunnel leads to.
    pub(crate) peer: Option<SocketAddr>,
    /// Present for HTTP/1.1: give it back when the body has been read, drop it to close.
    pub(crate) lease: Option<Lease>,
}

/// An HTTP/1.1 connection that is in use.
pub(crate) struct Lease {
    pool: Rc<HttpPool>,
    key: Key,
    sender: Sender1,
}

/// Why there is no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SendFailure {
    /// No connection.
    Connect(ConnectFailure),
    /// The peer refused the stream before it did anything.
    Refused,
    /// The connection was gone before the request was on its way.
    Unsent,
    /// It broke before response headers.
    Reset,
    /// The answer was no HTTP.
    Protocol,
}

impl SendFailure {
    /// For the retry policy.
    pub(crate) fn end(self) -> TryEnd {
        match self {
            Self::Connect(_) => TryEnd::ConnectFailure,
            Self::Refused => TryEnd::RefusedStream,
            Self::Unsent => TryEnd::ResetBeforeRequest,
            Self::Reset | Self::Protocol => TryEnd::Reset,
        }
    }
}

/// Sends a request and waits for response headers. The caller sets the limit of the wait.
pub(crate) async fn send(
    upstreams: &Rc<Upstreams>,
    target: &Target,
    version: Version,
    request: Request<Body>,
) -> Result<Answered, SendFailure> {
    match version {
        Version::Http1 => send1(upstreams, target, request).await,
        Version::Http2 => send2(upstreams, target, request).await,
    }
}

async fn send1(
    upstreams: &Rc<Upstreams>,
    target: &Target,
    mut request: Request<Body>,
) -> Result<Answered, SendFailure> {
    let key = Key::of(target);
    let mut fresh = false;
    loop {
        let idle = if fresh {
            None
        } else {
            upstreams.http.take(&key)
        };
        let reused = idle.is_some();
        let again = if reused { Again::of(&request) } else { None };
        let mut sender = match idle {
            Some(sender) => sender,
            None => handshake1(upstreams, target)
                .await
                .map_err(SendFailure::Connect)?,
        };
        match sender.http.try_send_request(request).await {
            Ok(response) => {
                let pool = upstreams.http.clone();
                return Ok(Answered {
                    response,
                    peer: sender.peer,
                    lease: Some(Lease { pool, key, sender }),
                });
            }
            Err(mut failed) => match failed.take_message() {
                Some(unsent) if reused => request = unsent,
                unsent => match (classify(&failed, unsent.is_some()), again) {
                    // The server gave it up while the request was on its way.
                    (SendFailure::Reset | SendFailure::Unsent, Some(again)) => {
                        request = again.request();
                        fresh = true;
                    }
                    (failure, _) => return Err(failure),
                },
            },
        }
    }
}

async fn send2(
    upstreams: &Rc<Upstreams>,
    target: &Target,
    mut request: Request<Body>,
) -> Result<Answered, SendFailure> {
    let key = Key::of(target);
    loop {
        let (dial, reused) = upstreams.http.shared(upstreams, &key, target);
        let mut sender = match dial.await {
            Ok(sender) => sender,
            Err(failure) => {
                upstreams.http.forget_unusable(&key);
                return Err(SendFailure::Connect(failure));
            }
        };
        match sender.http.try_send_request(request).await {
            Ok(response) => {
                return Ok(Answered {
                    response,
                    peer: sender.peer,
                    lease: None,
                });
            }
            Err(mut failed) => {
                match failed.take_message() {
                    Some(unsent) if reused => {
                        // It may still be open for the streams it has, but takes no new ones.
                        upstreams.http.shared.borrow_mut().remove(&key);
                        request = unsent;
                    }
                    unsent => {
                        upstreams.http.forget_unusable(&key);
                        return Err(classify(&failed, unsent.is_some()));
                    }
                }
            }
        }
    }
}

impl HttpPool {
    fn take(&self, key: &Key) -> Option<Sender1> {
        let mut idle = self.idle.borrow_mut();
        let kept = idle.get_mut(key)?;
        while let Some(one) = kept.pop() {
            if one.sender.http.is_ready() && one.is_fresh() {
                return Some(one.sender);
            }
        }
        None
    }

    fn put(&self, key: Key, sender: Sender1) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() >= ENDPOINTS && !idle.contains_key(&key) {
            return;
        }
        let kept = idle.entry(key).or_default();
        kept.retain(Idle::is_fresh);
        if kept.len() < KEPT {
            kept.push(Idle {
                sender,
                since: Instant::now(),
            });
        }
    }

    /// The dial, finished or not, whose connection serves this key, and whether it was there before.
    fn shared(&self, upstreams: &Rc<Upstreams>, key: &Key, target: &Target) -> (Dial, bool) {
        let mut shared = self.shared.borrow_mut();
        if let Some(common) = shared.get_mut(key)
            && common.is_usable()
        {
            common.used = Instant::now();
            return (common.dial.clone(), true);
        }
        let (upstreams, target) = (Rc::downgrade(upstreams), target.clone());
        let dial = async move {
            let upstreams = upstreams.upgrade().ok_or(ConnectFailure::Dial)?;
            handshake2(&upstreams, &target).await
        };
        let dial = dial.boxed_local().shared();
        if shared.len() >= ENDPOINTS && !shared.contains_key(key) {
            return (dial, false);
        }
        shared.insert(
            key.clone(),
            Common {
                dial: dial.clone(),
                used: Instant::now(),
            },
        );
        (dial, false)
    }

    /// Lets go what nobody has used for a while; requests in progress go on.
    pub(crate) fn sweep(&self) {
        self.shared
            .borrow_mut()
            .retain(|_, c| c.is_usable() && c.used.elapsed() < IDLE);
        self.idle.borrow_mut().retain(|_, kept| {
            kept.retain(Idle::is_fresh);
            !kept.is_empty()
        });
    }

    /// Lets go everything; requests in progress go on.
    pub(crate) fn clear(&self) {
        self.shared.borrow_mut().clear();
        self.idle.borrow_mut().clear();
    }

    fn forget_unusable(&self, key: &Key) {
        let mut shared = self.shared.borrow_mut();
        if shared.get(key).is_some_and(|common| !common.is_usable()) {
            shared.remove(key);
        }
    }
}

impl Idle {
    /// Open, not too old, and its tunnel not about to end.
    fn is_fresh(&self) -> bool {
        !self.sender.http.is_closed() && self.since.elapsed() < IDLE && self.sender.beneath.lasts()
    }
}

impl Common {
    /// Being dialled, or open.
    fn is_usable(&self) -> bool {
        match self.dial.peek() {
            None => true,
            Some(Ok(sender)) => !sender.http.is_closed() && sender.beneath.lasts(),
            Some(Err(_)) => false,
        }
    }
}

impl Lease {
    /// Takes the connection back once it is ready for another request.
    pub(crate) fn give_back(mut self) {
        if self.sender.http.is_closed() {
            return;
        }
        tokio::task::spawn_local(async move {
            // The rest of the request may still be on its way; no longer than a connection may idle.
            let ready = tokio::time::timeout(IDLE, self.sender.http.ready()).await;
            if matches!(ready, Ok(Ok(()))) {
                self.pool.put(self.key, self.sender);
            }
        });
    }
}

impl Key {
    fn of(target: &Target) -> Self {
        Self {
            address: target.address,
            host: target.host,
            expected: target.expected.clone(),
        }
    }
}

fn classify(failed: &TrySendError<Request<Body>>, unsent: bool) -> SendFailure {
    let error = failed.error();
    let reason = std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<h2::Error>())
        .and_then(h2::Error::reason);
    if reason == Some(h2::Reason::REFUSED_STREAM) {
        SendFailure::Refused
    } else if unsent || error.is_canceled() {
        SendFailure::Unsent
    } else if error.is_parse() || error.is_parse_too_large() || error.is_parse_status() {
        SendFailure::Protocol
    } else {
        SendFailure::Reset
    }
}
