//! Our side of a tunnel we dial.
//! In: a connected byte stream and who the peer may be. Out: a [`Tunnel`], on which [`Tunnel::open`]
//! makes streams.
//! Owns: the tunnel's task, which ends when no handle is left and everything is sent, when the peer
//! goes, or when a PING stays unanswered.
//! Must not happen here: a request on a tunnel whose settings are unknown (the first PING's answer
//! follows them).

use super::Settings;
use super::closing::{Closing, Shared};
use super::error::{ConnectError, DialError, MuxError, Stage};
use super::ping::{Beat, Keepalive};
use super::stream::Stream;
use crate::wire::{ConnectReply, ConnectRequest};
use ambit_identity::Svid;
use ambit_identity::tls::{self, KeyExchange, SecureStream, Secured, TlsError, TlsFailure};
use ambit_model::ids::SpiffeId;
use bytes::Bytes;
use futures::channel::oneshot;
use h2::client::{Connection, SendRequest};
use http::HeaderValue;
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::debug;

/// An established tunnel to a verified peer.
pub struct Tunnel {
    send: SendRequest<Bytes>,
    svid: Arc<Svid>,
    peer: SpiffeId,
    key_exchange: KeyExchange,
    limit: usize,
    reply_deadline: Duration,
    streams: Cell<usize>,
    /// Since when it carries no stream.
    idle_since: Cell<Instant>,
    /// No new streams: the peer did not answer a CONNECT, or our certificate was replaced.
    retired: Cell<bool>,
    closed: Rc<Cell<bool>>,
}

/// A stream and what came with it.
#[derive(Debug)]
pub struct Opened {
    /// The stream.
    pub stream: Stream,
    /// `baggage` of the destination's workload.
    pub baggage: Option<HeaderValue>,
    /// The tunnel's peer.
    pub peer: SpiffeId,
    /// The tunnel's key exchange.
    pub key_exchange: KeyExchange,
}

/// Makes a tunnel over `io`; the peer must be one of `expected`.
///
/// `among` is held until the tunnel has said and heard everything.
///
/// # Errors
/// [`DialError`].
pub(super) async fn connect<T>(
    io: T,
    svid: &Arc<Svid>,
    expected: &Arc<[SpiffeId]>,
    settings: &Settings,
    among: watch::Receiver<()>,
) -> Result<Rc<Tunnel>, DialError>
where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let secured = tls::connect(io, svid, expected, settings.tls_deadline)
        .await
        .map_err(|error| match error {
            TlsError::Timeout { after } => DialError::Timeout {
                stage: Stage::Tls,
                after,
            },
            other => DialError::Tls(other),
        })?;
    let after = settings.h2_deadline;
    let tunnel = tokio::time::timeout(after, greet(secured, svid, settings, among))
        .await
        .map_err(|_| DialError::Timeout {
            stage: Stage::H2,
            after,
        })??;
    Ok(Rc::new(tunnel))
}

async fn greet<T>(
    secured: Secured<T>,
    svid: &Arc<Svid>,
    settings: &Settings,
    among: watch::Receiver<()>,
) -> Result<Tunnel, DialError>
where
    T: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let failure = secured.stream.failure();
    let io = Shared::new(secured.stream);
    let (send, mut connection) = h2::client::Builder::new()
        .initial_window_size(settings.stream_window)
        .initial_connection_window_size(settings.connection_window)
        .max_frame_size(settings.frame)
        .max_header_list_size(settings.client_header_list)
        .max_send_buffer_size(settings.send_buffer)
        .enable_push(false)
        .handshake(io.clone())
        .await
        .map_err(|e| h2_failed(e, &failure))?;
    let pings = connection
        .ping_pong()
        .expect("taken once, from a new connection");
    let driver = Driver {
        connection,
        io,
        closing: Closing::of(settings),
        keepalive: Keepalive::new(
            pings,
            Duration::ZERO,
            settings.ping_interval,
            settings.ping_timeout,
        ),
        failure,
        _among: among,
    };
    let closed = Rc::new(Cell::new(false));
    let (tell, greeted) = oneshot::channel();
    tokio::task::spawn_local(driver.drive(tell, closed.clone()));
    greeted.await.unwrap_or(Err(DialError::Stopped))?;
    let limit = settings
        .max_streams_per_tunnel
        .min(send.current_max_send_streams());
    if limit == 0 {
        return Err(DialError::NoStreams);
    }
    Ok(Tunnel {
        send,
        svid: svid.clone(),
        peer: secured.peer,
        key_exchange: secured.key_exchange,
        limit,
        reply_deadline: settings.reply_deadline,
        streams: Cell::new(0),
        idle_since: Cell::new(Instant::now()),
        retired: Cell::new(false),
        closed,
    })
}

/// With TLS 1.3 a server's refusal of our certificate arrives after our handshake is done.
fn h2_failed(error: h2::Error, failure: &TlsFailure) -> DialError {
    match failure.get() {
        Some(tls) => DialError::Tls(tls),
        None => DialError::H2(MuxError(error)),
    }
}

struct Driver<T> {
    connection: Connection<Shared<SecureStream<T>>, Bytes>,
    io: Shared<SecureStream<T>>,
    closing: Closing,
    keepalive: Keepalive,
    failure: TlsFailure,
    _among: watch::Receiver<()>,
}

enum Ended {
    Connection(Result<(), h2::Error>),
    Silent,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Driver<T> {
    /// Moves the tunnel's bytes to its end; tells once, at the first PING's answer or a failure
    /// before it.
    async fn drive(mut self, tell: oneshot::Sender<Result<(), DialError>>, closed: Rc<Cell<bool>>) {
        let mut tell = Some(tell);
        let ended = poll_fn(|cx| self.poll(cx, &mut tell)).await;
        closed.set(true);
        match (ended, tell) {
            (Ended::Connection(Err(error)), Some(tell)) => {
                // The caller may have given up already.
                let _ = tell.send(Err(h2_failed(error, &self.failure)));
            }
            (Ended::Connection(Err(error)), None) => debug!(%error, "tunnel failed"),
            (Ended::Connection(Ok(())), tell) => {
                drop(tell);
                self.io.peer_ended(&self.closing).await;
            }
            (Ended::Silent, _) => debug!("tunnel closed: PING not answered"),
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        tell: &mut Option<oneshot::Sender<Result<(), DialError>>>,
    ) -> Poll<Ended> {
        loop {
            if let Poll::Ready(result) = Pin::new(&mut self.connection).poll(cx) {
                return Poll::Ready(Ended::Connection(result));
            }
            match self.keepalive.poll(cx) {
                Poll::Ready(Beat::Pong) => {
                    if let Some(tell) = tell.take() {
                        // The caller may have given up already.
                        let _ = tell.send(Ok(()));
                    }
                }
                Poll::Ready(Beat::Dead) => return Poll::Ready(Ended::Silent),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl Tunnel {
    /// The verified peer.
    pub fn peer(&self) -> &SpiffeId {
        &self.peer
    }

    /// The certificate we showed.
    pub fn svid(&self) -> &Arc<Svid> {
        &self.svid
    }

    /// Kind of key exchange.
    pub fn key_exchange(&self) -> KeyExchange {
        self.key_exchange
    }

    /// Streams it carries now.
    pub fn streams(&self) -> usize {
        self.streams.get()
    }

    /// Streams it may carry.
    pub fn limit(&self) -> usize {
        self.limit.min(self.send.current_max_send_streams())
    }

    /// False once closed, told to go away by the peer, or retired: streams on it go on.
    pub fn takes_streams(&self) -> bool {
        if self.retired.get() || self.closed.get() {
            return false;
        }
        let mut context = Context::from_waker(std::task::Waker::noop());
        !matches!(
            self.send.clone().poll_ready(&mut context),
            Poll::Ready(Err(_))
        )
    }

    pub(super) fn retire(&self) {
        self.retired.set(true);
    }

    /// How long it has carried no stream; `None` while it does.
    pub(super) fn idle_for(&self) -> Option<Duration> {
        (self.streams.get() == 0).then(|| self.idle_since.get().elapsed())
    }

    /// A place for one stream, if there is one.
    pub(super) fn reserve(self: &Rc<Self>) -> Option<Permit> {
        if self.streams.get() >= self.limit() {
            return None;
        }
        self.streams.set(self.streams.get() + 1);
        Some(Permit {
            tunnel: self.clone(),
        })
    }

    /// Opens a stream, beyond the limit too: the mux then queues it until the deadline.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn open(self: &Rc<Self>, request: &ConnectRequest) -> Result<Opened, ConnectError> {
        self.streams.set(self.streams.get() + 1);
        let permit = Permit {
            tunnel: self.clone(),
        };
        permit.open(request).await
    }
}

impl std::fmt::Debug for Tunnel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tunnel")
            .field("peer", &self.peer)
            .field("streams", &self.streams.get())
            .finish_non_exhaustive()
    }
}

/// A stream's place on its tunnel; keeps the tunnel alive.
#[derive(Debug)]
pub(super) struct Permit {
    tunnel: Rc<Tunnel>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        let left = self.tunnel.streams.get() - 1;
        self.tunnel.streams.set(left);
        if left == 0 {
            self.tunnel.idle_since.set(Instant::now());
        }
    }
}

impl Permit {
    pub(super) fn tunnel(&self) -> &Rc<Tunnel> {
        &self.tunnel
    }

    pub(super) async fn open(self, request: &ConnectRequest) -> Result<Opened, ConnectError> {
        let after = self.tunnel.reply_deadline;
        let answer = tokio::time::timeout(after, ask(self.tunnel.send.clone(), request)).await;
        let Ok(answer) = answer else {
            // Nothing else is known to be wrong, but the next one should not wait here as well.
            self.tunnel.retire();
            return Err(ConnectError::Timeout { after });
        };
        let (response, send) = answer?;
        match ConnectReply::read(&response) {
            ConnectReply::Accepted { baggage } => {
                let (peer, key_exchange) = (self.tunnel.peer.clone(), self.tunnel.key_exchange);
                Ok(Opened {
                    stream: Stream::new(send, response.into_body(), Some(self)),
                    baggage,
                    peer,
                    key_exchange,
                })
            }
            ConnectReply::Refused { status, reason } => {
                Err(ConnectError::Refused { status, reason })
            }
        }
    }
}

async fn ask(
    send: SendRequest<Bytes>,
    request: &ConnectRequest,
) -> Result<(http::Response<h2::RecvStream>, h2::SendStream<Bytes>), ConnectError> {
    let mut send = send
        .ready()
        .await
        .map_err(|e| ConnectError::Unprocessed(MuxError(e)))?;
    let (response, stream) = send
        .send_request(request.write(), false)
        .map_err(|e| ConnectError::Unprocessed(MuxError(e)))?;
    Ok((response.await?, stream))
}
