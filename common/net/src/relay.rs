//! Relay: the bytes of one proxied connection, both ways.
//! In: two endpoints, each an [`Inlet`] and an [`Outlet`] (TCP here, HBONE streams in `ambit-hbone`).
//! Out: one [`RelayEnd`] and the byte counts.
//! Owns: both endpoints while it runs; dropping the future resets both, so that a connection cut
//! short never looks complete. Buffers belong to the thread and are lent only while bytes are in
//! them: an idle connection holds none.
//! Must not happen here: a FIN for a truncated stream, a wait without a wake-up, a task.
//! Spec: RFC 9113 section 8.5 (FIN is END_STREAM, RST is RST_STREAM with CONNECT_ERROR).

mod buffers;
mod pump;
mod tcp;
#[cfg(test)]
mod tests;

pub use buffers::{Block, LARGEST_READ};
pub use tcp::{TcpEndpoint, TcpInlet, TcpOutlet};

use bytes::BytesMut;
use bytes::buf::Limit;
use std::fmt;
use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use thiserror::Error;

use pump::{Pump, PumpEnd};

/// HTTP/2 error code of a reset (RFC 9113 section 7).
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ResetCode(pub u32);

impl ResetCode {
    /// No error; sent after a complete answer to say that no more input is wanted.
    pub const NO_ERROR: Self = Self(0x0);
    /// The sender refused the stream before it did anything with it: safe to repeat.
    pub const REFUSED_STREAM: Self = Self(0x7);
    /// The stream is no longer needed.
    pub const CANCEL: Self = Self(0x8);
    /// The TCP connection behind a CONNECT was reset (RFC 9113 section 8.5).
    pub const CONNECT_ERROR: Self = Self(0xa);
}

impl fmt::Debug for ResetCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::NO_ERROR => f.write_str("NO_ERROR"),
            Self::REFUSED_STREAM => f.write_str("REFUSED_STREAM"),
            Self::CANCEL => f.write_str("CANCEL"),
            Self::CONNECT_ERROR => f.write_str("CONNECT_ERROR"),
            Self(other) => write!(f, "{other:#x}"),
        }
    }
}

/// Why one half of an endpoint stopped.
#[derive(Debug, Error)]
pub enum StreamError {
    /// The peer reset the stream or the connection.
    #[error("reset by the peer ({0:?})")]
    Reset(ResetCode),
    /// The peer took all it wanted and asks for no more; what it sends is still valid.
    #[error("the peer wants no more bytes")]
    Stopped,
    /// The socket failed.
    #[error("socket failed")]
    Socket(#[source] io::Error),
    /// The tunnel that carries the stream failed.
    #[error("tunnel failed")]
    Tunnel(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl StreamError {
    /// True if the peer cut the connection on purpose, as against a failing path.
    pub fn is_reset(&self) -> bool {
        match self {
            Self::Reset(_) => true,
            Self::Socket(e) => matches!(
                e.kind(),
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
            ),
            Self::Stopped | Self::Tunnel(_) => false,
        }
    }
}

/// Which half failed while bytes were moved.
#[derive(Debug)]
pub enum TransferError {
    /// Reading from the inlet.
    Inlet(StreamError),
    /// Writing to the outlet.
    Outlet(StreamError),
}

/// What one transfer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transfer {
    /// That many bytes went from the inlet to the outlet (never 0).
    Moved(usize),
    /// The inlet ended cleanly; nothing moved.
    Ended,
}

/// The receiving half of an endpoint.
pub trait Inlet {
    /// Moves bytes that are there to `to` with as few copies as both allow: an inlet that reads
    /// from the kernel reads into the memory `to` reserves, one that already holds received bytes
    /// lends them to [`Outlet::poll_write`] and gives flow-control credit back once they are taken.
    fn poll_transfer<O: Outlet>(
        &mut self,
        cx: &mut Context<'_>,
        to: &mut O,
    ) -> Poll<Result<Transfer, TransferError>>;
}

/// The sending half of an endpoint. Dropped before [`Outlet::poll_finish`] is done, it resets.
pub trait Outlet {
    /// Memory for at most `want` bytes (at least 1), which this outlet may send. The caller appends
    /// to it and calls [`Outlet::commit`], also when it appended nothing.
    fn poll_reserve(
        &mut self,
        cx: &mut Context<'_>,
        want: usize,
    ) -> Poll<Result<Limit<&mut BytesMut>, StreamError>>;

    /// Sends what was appended to the reserved memory and gives the rest back.
    fn commit(&mut self) -> Result<(), StreamError>;

    /// Sends from memory the caller keeps; returns how many bytes were taken (at least 1).
    fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize, StreamError>>;

    /// Hands everything committed to the layer below.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>>;

    /// Flushes and ends the stream cleanly (FIN, END_STREAM). With `last`, the inlet of the same
    /// endpoint has ended and the outlet is dropped at once, so closing may say it.
    fn poll_finish(&mut self, cx: &mut Context<'_>, last: bool) -> Poll<Result<(), StreamError>>;

    /// Resolves when the peer refuses further bytes although none are being sent.
    fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<StreamError>;

    /// Cuts the stream: the peer sees RST or `RST_STREAM(code)`.
    fn reset(&mut self, code: ResetCode);
}

/// Something to relay: it splits into its two halves.
pub trait Endpoint {
    /// Receiving half.
    type In: Inlet;
    /// Sending half.
    type Out: Outlet;
    /// The halves.
    fn split(self) -> (Self::In, Self::Out);
}

/// Bytes of one connection. One writer, any number of readers.
#[derive(Debug, Default)]
pub struct Counters {
    from_client: AtomicU64,
    from_server: AtomicU64,
}

impl Counters {
    /// Bytes the client sent (`istio_tcp_received_bytes_total`).
    pub fn from_client(&self) -> u64 {
        self.from_client.load(Ordering::Relaxed)
    }

    /// Bytes the server sent (`istio_tcp_sent_bytes_total`).
    pub fn from_server(&self) -> u64 {
        self.from_server.load(Ordering::Relaxed)
    }

    /// Load and store, not a locked add: the relay is the only writer.
    fn add(counter: &AtomicU64, n: usize) {
        counter.store(
            counter.load(Ordering::Relaxed).wrapping_add(n as u64),
            Ordering::Relaxed,
        );
    }
}

/// One of the two endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that opened the connection.
    Client,
    /// The one that was dialled.
    Server,
}

/// How a relayed connection ended.
#[derive(Debug)]
pub enum RelayEnd {
    /// Both directions were delivered to their end.
    Finished,
    /// `by` failed; the other side was reset.
    Broken {
        /// The endpoint whose half failed.
        by: Side,
        /// Why.
        error: StreamError,
    },
}

/// Copies both ways until both directions have ended or one endpoint broke.
///
/// Half-close is kept: the end of one direction leaves the other running for as long as it wants.
pub async fn run<C: Endpoint, S: Endpoint>(client: C, server: S, counters: &Counters) -> RelayEnd {
    let (client_in, client_out) = client.split();
    let (server_in, server_out) = server.split();
    let mut up = Pump::new(client_in, server_out, &counters.from_client);
    let mut down = Pump::new(server_in, client_out, &counters.from_server);
    let end = poll_fn(|cx| poll_both(cx, &mut up, &mut down)).await;
    if matches!(end, RelayEnd::Broken { .. }) {
        up.reset();
        down.reset();
    }
    end
}

fn poll_both<A: Inlet, B: Outlet, C: Inlet, D: Outlet>(
    cx: &mut Context<'_>,
    up: &mut Pump<'_, A, B>,
    down: &mut Pump<'_, C, D>,
) -> Poll<RelayEnd> {
    let first = up.poll(cx, down.is_done());
    if let Poll::Ready(PumpEnd::Broken(error)) = first {
        return Poll::Ready(broken(error, Side::Client, Side::Server));
    }
    let second = down.poll(cx, up.is_done());
    if let Poll::Ready(PumpEnd::Broken(error)) = second {
        return Poll::Ready(broken(error, Side::Server, Side::Client));
    }
    ready!(first);
    ready!(second);
    Poll::Ready(RelayEnd::Finished)
}

fn broken(error: TransferError, from: Side, to: Side) -> RelayEnd {
    match error {
        TransferError::Inlet(error) => RelayEnd::Broken { by: from, error },
        TransferError::Outlet(error) => RelayEnd::Broken { by: to, error },
    }
}
