//! Our side of a tunnel a peer dialled.
//! In: an accepted byte stream. Out: one [`Incoming`] per CONNECT, handed to the caller's handler.
//! Owns: the handlers of its streams; dropping [`ServerTunnel::serve`] aborts them, which resets
//! their streams.
//! Must not happen here: a decision about a request beyond its form; a peer without identity.

use super::Settings;
use super::closing::{Closing, Shared};
use super::error::{AcceptError, MuxError, StreamRefused, TunnelError};
use super::ping::{Beat, Keepalive};
use super::stream::Stream;
use crate::wire::{ConnectReply, ConnectRequest};
use ambit_identity::tls::{self, KeyExchange, SecureStream};
use ambit_identity::{PeerCertificates, Svid};
use ambit_model::ids::SpiffeId;
use ambit_net::relay::StreamError;
use bytes::Bytes;
use h2::server::{Connection, SendResponse};
use h2::{Reason, RecvStream};
use http::{HeaderValue, Request, StatusCode};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::JoinSet;
use tracing::{debug, error};

/// Reason sent with 400.
const BAD_REQUEST: &str = "bad-request";
/// Reason sent with 431.
const HEADERS_TOO_LARGE: &str = "headers";

/// An established tunnel from a verified peer.
pub struct ServerTunnel<T> {
    connection: Connection<Shared<SecureStream<T>>, Bytes>,
    io: Shared<SecureStream<T>>,
    closing: Closing,
    keepalive: Keepalive,
    ping_timeout: Duration,
    peer: SpiffeId,
    certificates: PeerCertificates,
    key_exchange: KeyExchange,
    limits: Limits,
    tell: Box<dyn FnMut(StreamRefused)>,
}

/// What one tunnel may ask.
#[derive(Clone, Copy)]
struct Limits {
    /// Octets of a header list, counted as in RFC 9113 section 6.5.2.
    header_list: usize,
    /// Streams at once.
    streams: usize,
}

/// Makes a tunnel of an accepted connection.
///
/// # Errors
/// [`AcceptError`]: TLS and HTTP/2 each have a deadline.
pub async fn accept<T>(
    io: T,
    svid: &Svid,
    settings: &Settings,
) -> Result<ServerTunnel<T>, AcceptError>
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let secured = tls::accept(io, svid, settings.tls_deadline)
        .await
        .map_err(AcceptError::Tls)?;
    let io = Shared::new(secured.stream);
    let handshake = h2::server::Builder::new()
        .initial_window_size(settings.stream_window)
        .initial_connection_window_size(settings.connection_window)
        .max_frame_size(settings.frame)
        // The mux answers what is larger by itself and says nothing; up to here the refusal is ours.
        .max_header_list_size(settings.server_header_list.saturating_mul(2))
        .max_concurrent_streams(settings.server_max_streams)
        .max_send_buffer_size(settings.send_buffer)
        .handshake(io.clone());
    let after = settings.h2_deadline;
    let mut connection = tokio::time::timeout(after, handshake)
        .await
        .map_err(|_| AcceptError::Timeout { after })?
        .map_err(|e| AcceptError::H2(MuxError(e)))?;
    let pings = connection
        .ping_pong()
        .expect("taken once, from a new connection");
    let (interval, timeout) = (settings.ping_interval, settings.ping_timeout);
    Ok(ServerTunnel {
        connection,
        io,
        closing: Closing::of(settings),
        keepalive: Keepalive::new(pings, interval, interval, timeout),
        ping_timeout: timeout,
        peer: secured.peer,
        certificates: secured.certificates,
        key_exchange: secured.key_exchange,
        limits: Limits {
            header_list: settings.server_header_list as usize,
            streams: settings.server_max_streams as usize,
        },
        tell: Box::new(|refused| debug!(error = %refused, "stream refused")),
    })
}

impl<T: AsyncRead + AsyncWrite + Unpin> ServerTunnel<T> {
    /// The verified peer.
    pub fn peer(&self) -> &SpiffeId {
        &self.peer
    }

    /// The certificates the peer has shown.
    pub fn certificates(&self) -> &PeerCertificates {
        &self.certificates
    }

    /// Kind of key exchange.
    pub fn key_exchange(&self) -> KeyExchange {
        self.key_exchange
    }

    /// Whom to tell of streams that are refused before they reach the handler; by default they are
    /// only logged, at debug.
    #[must_use]
    pub fn on_refused(mut self, tell: impl FnMut(StreamRefused) + 'static) -> Self {
        self.tell = Box::new(tell);
        self
    }

    /// Serves until the peer closes, or until everything is done after `drain`: then the peer is
    /// told to open no more streams (GOAWAY) and those that are open go on. Whoever wants an end
    /// sooner drops the future. Each request runs as a task of its own; those that are not a
    /// usable CONNECT are answered with 400 here, those with too many headers with 431.
    ///
    /// # Errors
    /// [`TunnelError`], after all handlers have ended.
    pub async fn serve<F, H>(
        self,
        drain: impl Future<Output = ()>,
        handler: F,
    ) -> Result<(), TunnelError>
    where
        F: FnMut(Incoming) -> H,
        H: Future<Output = ()> + 'static,
    {
        let mut handlers = JoinSet::new();
        let result = self.run(drain, handler, &mut handlers).await;
        while let Some(ended) = handlers.join_next().await {
            report(ended);
        }
        result
    }

    async fn run<F, H>(
        mut self,
        drain: impl Future<Output = ()>,
        mut handler: F,
        handlers: &mut JoinSet<()>,
    ) -> Result<(), TunnelError>
    where
        F: FnMut(Incoming) -> H,
        H: Future<Output = ()> + 'static,
    {
        let mut drain = pin!(drain);
        let mut draining = false;
        let mut full = false;
        loop {
            let event = poll_fn(|cx| {
                while let Poll::Ready(Some(ended)) = handlers.poll_join_next(cx) {
                    report(ended);
                }
                if !draining && drain.as_mut().poll(cx).is_ready() {
                    draining = true;
                    self.connection.graceful_shutdown();
                }
                self.poll_event(cx)
            });
            match event.await {
                Event::Request(request, respond) => {
                    match read(request, respond, self.limits) {
                        Ok(incoming) => drop(handlers.spawn_local(handler(incoming))),
                        Err(refused) => (self.tell)(refused),
                    }
                    // Further streams are refused by the mux, which says nothing.
                    let limit = self.limits.streams;
                    if handlers.len() >= limit && !std::mem::replace(&mut full, true) {
                        (self.tell)(StreamRefused::Full { limit });
                    }
                }
                Event::Closed(Ok(())) => {
                    self.io.peer_ended(&self.closing).await;
                    return Ok(());
                }
                Event::Closed(Err(error)) => return Err(error.into()),
                Event::Silent => {
                    self.connection.abrupt_shutdown(Reason::NO_ERROR);
                    return Err(TunnelError::Ping {
                        after: self.ping_timeout,
                    });
                }
            }
        }
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        loop {
            match self.connection.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    return Poll::Ready(Event::Request(request, respond));
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Event::Closed(Err(error))),
                Poll::Ready(None) => return Poll::Ready(Event::Closed(Ok(()))),
                Poll::Pending => {}
            }
            match self.keepalive.poll(cx) {
                Poll::Ready(Beat::Pong) => {}
                Poll::Ready(Beat::Dead) => return Poll::Ready(Event::Silent),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl<T> std::fmt::Debug for ServerTunnel<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerTunnel")
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

#[allow(
    clippy::large_enum_variant,
    reason = "moved once, from the poll to the handler; a box would be an allocation per stream"
)]
enum Event {
    Request(Request<RecvStream>, SendResponse<Bytes>),
    Closed(Result<(), h2::Error>),
    Silent,
}

fn read(
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
    limits: Limits,
) -> Result<Incoming, StreamRefused> {
    let bytes = header_list(&request);
    if bytes > limits.header_list {
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        answer(respond, status, HEADERS_TOO_LARGE);
        let limit = limits.header_list;
        return Err(StreamRefused::Headers { bytes, limit });
    }
    let head = ConnectRequest::read(&request);
    let body = request.into_body();
    match head {
        Ok(request) => Ok(Incoming {
            request,
            respond,
            body,
        }),
        Err(bad) => {
            answer(respond, StatusCode::BAD_REQUEST, BAD_REQUEST);
            Err(StreamRefused::Request(bad))
        }
    }
}

/// Size of a header list, RFC 9113 section 6.5.2; the pseudo-headers without their names.
fn header_list(request: &Request<RecvStream>) -> usize {
    const OVERHEAD: usize = 32;
    let field = |name: usize, value: usize| name + value + OVERHEAD;
    let fields = request.headers().iter();
    let fields: usize = fields
        .map(|(name, value)| field(name.as_str().len(), value.len()))
        .sum();
    let authority = request.uri().authority().map_or(0, |a| a.as_str().len());
    fields + authority + request.uri().path().len()
}

fn answer(mut respond: SendResponse<Bytes>, status: StatusCode, reason: &str) {
    let reply = ConnectReply::Refused {
        status,
        reason: Some(reason.to_owned()),
    };
    // Fails only for a stream that is gone.
    let _ = respond.send_response(reply.write(), true);
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(failed) = ended
        && failed.is_panic()
    {
        error!(error = %failed, "stream handler panicked");
    }
}

/// A CONNECT that waits for an answer. Dropped without one, it is reset.
pub struct Incoming {
    /// What is asked.
    pub request: ConnectRequest,
    respond: SendResponse<Bytes>,
    body: RecvStream,
}

impl Incoming {
    /// Answers 200: the application is connected.
    ///
    /// # Errors
    /// [`StreamError`] if the peer has gone.
    pub fn accept(mut self, baggage: Option<HeaderValue>) -> Result<Stream, StreamError> {
        let reply = ConnectReply::Accepted { baggage }.write();
        let send = self
            .respond
            .send_response(reply, false)
            .map_err(super::error::stream_error)?;
        Ok(Stream::new(send, self.body, None))
    }

    /// Answers with an error status and `x-ambit-reason`.
    pub fn refuse(self, status: StatusCode, reason: &str) {
        answer(self.respond, status, reason);
    }

    /// Resolves when the client gives up before the answer.
    pub async fn cancelled(&mut self) {
        // Either way nobody waits any more.
        let _ = poll_fn(|cx| self.respond.poll_reset(cx)).await;
    }
}

impl std::fmt::Debug for Incoming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Incoming")
            .field("request", &self.request)
            .finish_non_exhaustive()
    }
}
