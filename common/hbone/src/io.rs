//! Tunnels and streams: the bytes of HBONE.
//! In: TCP streams the caller dialled or accepted. Out: [`Stream`]s to relay, replies, errors by stage.
//! Owns: nothing by itself; a [`Pool`] owns the tunnels of one worker, a task per tunnel drives it and
//! ends with it (no handle left and all sent, the peer gone, or a PING unanswered).
//! Must not happen here: `Send` (everything stays on its worker), a wait without a deadline, the
//! mux library in the public interface.
//! Spec: RFC 9113; settings as Istio's ztunnel.

mod client;
mod closing;
mod error;
mod ping;
mod pool;
mod server;
mod stream;
mod stream_io;
#[cfg(test)]
mod tests;

pub use client::{Opened, Tunnel};
pub use error::{
    AcceptError, ConnectError, DialError, MuxError, OpenError, Stage, StreamRefused, TunnelError,
};
pub use pool::{Pool, PoolStats, TunnelKey, TunnelState};
pub use server::{Incoming, ServerTunnel, accept};
pub use stream::{Stream, StreamInlet, StreamOutlet, TunnelLife};
pub use stream_io::StreamIo;

use std::time::Duration;

/// Sizes and deadlines of tunnels. Bytes, unless named otherwise.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Receive window of a stream (`HTTP2_STREAM_WINDOW_SIZE`).
    pub stream_window: u32,
    /// Receive window of a tunnel (`HTTP2_CONNECTION_WINDOW_SIZE`). Four times the stream's, so
    /// that one slow stream does not stop the others.
    pub connection_window: u32,
    /// Largest frame accepted (`HTTP2_FRAME_SIZE`).
    pub frame: u32,
    /// Bytes a stream may queue for its tunnel.
    pub send_buffer: usize,
    /// Largest header list a client accepts.
    pub client_header_list: u32,
    /// Largest header list a server accepts.
    pub server_header_list: u32,
    /// Streams a server accepts per tunnel.
    pub server_max_streams: u32,
    /// Streams a client puts on one tunnel, if the peer allows as many
    /// (`POOL_MAX_STREAMS_PER_CONNECTION`).
    pub max_streams_per_tunnel: usize,
    /// How long a pool keeps a tunnel without streams (`POOL_UNUSED_RELEASE_TIMEOUT`).
    pub idle_release: Duration,
    /// Time between PINGs; data makes no difference.
    pub ping_interval: Duration,
    /// How long the answer to a PING may take before the tunnel counts as dead.
    pub ping_timeout: Duration,
    /// Deadline of the caller's dialler.
    pub connect_deadline: Duration,
    /// Deadline of the TLS handshake, both roles.
    pub tls_deadline: Duration,
    /// Deadline of the HTTP/2 handshake, both roles.
    pub h2_deadline: Duration,
    /// Deadline of the reply to CONNECT.
    pub reply_deadline: Duration,
    /// How long the peer may take to end its side after we have ended ours, both roles.
    pub close_deadline: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        let ten = Duration::from_secs(10);
        Self {
            stream_window: 4 << 20,
            connection_window: 16 << 20,
            frame: 1 << 20,
            send_buffer: 1 << 20,
            client_header_list: 16 << 10,
            server_header_list: 64 << 10,
            server_max_streams: 200,
            max_streams_per_tunnel: 100,
            idle_release: Duration::from_secs(300),
            ping_interval: ten,
            ping_timeout: Duration::from_secs(20),
            connect_deadline: ten,
            tls_deadline: ten,
            h2_deadline: ten,
            reply_deadline: ten,
            close_deadline: ten,
        }
    }
}
