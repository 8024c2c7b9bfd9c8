//! What one client may ask of this waypoint, and how long it may take to ask.
//! In: settings. Out: [`Limits`], the same for all workers. Limits of tunnels themselves (handshakes,
//! streams, PINGs) are those of `ambit-hbone`.
//! Spec: Envoy's `request_headers_timeout`, `idle_timeout`, `max_request_headers_kb`,
//! `max_headers_count`, `max_concurrent_streams`.

use std::time::Duration;

/// Limits of the HTTP connections inside tunnels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// From the first byte of a request's head to its last (`AMBIT_HEAD_TIMEOUT`): then 408.
    pub head: Duration,
    /// A connection without a request is closed after so long (`AMBIT_IDLE_TIMEOUT`).
    pub idle: Duration,
    /// Bytes of a request's head (`AMBIT_MAX_HEADER_BYTES`): beyond, 431.
    pub header_bytes: u32,
    /// Headers of one request (`AMBIT_MAX_HEADERS`): beyond, 431.
    pub headers: usize,
    /// Requests at once on one HTTP/2 connection (`AMBIT_MAX_STREAMS`): further ones are refused.
    pub streams: u32,
    /// Time between PINGs on an HTTP/2 connection.
    pub ping: Duration,
    /// How long their answer may take; then the connection ends.
    pub pong: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            idle: Duration::from_secs(3600),
            header_bytes: 64 << 10,
            headers: 512,
            streams: 1024,
            ping: Duration::from_secs(30),
            pong: Duration::from_secs(20),
        }
    }
}
