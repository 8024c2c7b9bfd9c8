//! How a connection of HTTP begins: which version is spoken, by its first bytes.
//! In: a CONNECT stream or a plaintext connection. Out: it is handed to `server`, or ended.
//! Must not happen here: a wait without a limit.

use super::sniff::{self, Spoken};
use super::{broken, server};
use crate::downstream::Downstream;
use crate::outcome::Malformed;
use crate::stream_io::{ClientIn, ClientOut, StreamIo};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::Instant;

/// Serves a connection that is HTTP of either version to its end.
pub(crate) async fn serve<I: ClientIn, O: ClientOut>(
    downstream: Rc<Downstream>,
    mut io: StreamIo<I, O>,
) {
    let limits = downstream.worker.limits;
    match hear(&mut io, (limits.idle, limits.head)).await {
        Heard::Spoken(Spoken::Http2) => server::http2(downstream, io).await,
        Heard::Spoken(Spoken::Http1 | Spoken::Bytes) => server::http1(downstream, io).await,
        Heard::Silence | Heard::Ended => server::shut(io).await,
        Heard::Half => {
            broken::unanswered(&downstream, Malformed::TooSlow);
            server::shut(io).await;
        }
    }
}

/// What a stream began with.
pub(crate) enum Heard {
    /// Enough to tell.
    Spoken(Spoken),
    /// Nothing in time.
    Silence,
    /// Too little in time.
    Half,
    /// It ended or broke before it said anything.
    Ended,
}

/// What the first bytes say: the first byte within `silence`, the rest within `rest` of it.
pub(crate) async fn hear<I: ClientIn, O: ClientOut>(
    io: &mut StreamIo<I, O>,
    (silence, rest): (Duration, Duration),
) -> Heard {
    let mut had = 0;
    let mut deadline = Instant::now() + silence;
    loop {
        let ahead = match tokio::time::timeout_at(deadline, io.peek(sniff::ENOUGH)).await {
            Ok(Ok(ahead)) => ahead,
            Ok(Err(_)) => return Heard::Ended,
            Err(_) if had == 0 => return Heard::Silence,
            Err(_) => return Heard::Half,
        };
        if let Some(spoken) = sniff::tell(ahead) {
            return Heard::Spoken(spoken);
        }
        if ahead.len() == had {
            return match had {
                0 => Heard::Ended,
                _ => Heard::Spoken(Spoken::Bytes),
            };
        }
        if had == 0 {
            deadline = Instant::now() + rest;
        }
        had = ahead.len();
    }
}
