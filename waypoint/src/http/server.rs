//! HTTP/1.1 and HTTP/2 on a CONNECT stream.
//! In: the stream, what is spoken on it. Out: requests to `exchange`, until the stream or the drain
//! ends it. An HTTP/1.1 connection that was upgraded becomes a relay of bytes.
//! Must not happen here: a header list over 64 KiB, a connection that outlives the drain's deadline.

use super::{exchange, upgrade};
use crate::downstream::Downstream;
use crate::stream_io::HboneIo;
use crate::upstream::pool::LocalExecutor;
use hyper::rt::Write;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::Duration;

/// A connection without a request for so long is closed (Envoy's default).
const IDLE: Duration = Duration::from_secs(3600);
/// Largest header list.
const HEADER_LIST: u32 = 64 << 10;
/// Headers of one message.
const MAX_HEADERS: usize = 512;
/// Streams of one HTTP/2 connection.
const MAX_STREAMS: u32 = 1024;
/// Receive windows of HTTP/2.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// Serves HTTP/1.1.
pub(crate) async fn http1(downstream: Rc<Downstream>, io: HboneIo) {
    let (serving, left) = (downstream.clone(), upgrade::Slot::default());
    let slot = left.clone();
    let service =
        service_fn(move |request| Box::pin(exchange::run(serving.clone(), slot.clone(), request)));
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .max_buf_size(HEADER_LIST as usize)
        .max_headers(MAX_HEADERS)
        .serve_connection(io, service);
    let mut drain = downstream.worker.drain.clone();
    let mut told = false;
    let served = loop {
        tokio::select! {
            biased;
            served = poll_fn(|cx| connection.poll_without_shutdown(cx)) => break served,
            _ = drain.signalled(), if !told => {
                Pin::new(&mut connection).graceful_shutdown();
                told = true;
            }
        }
    };
    if let Err(error) = served {
        tracing::debug!(src.addr = %downstream.client, %error, "HTTP/1.1 connection ended");
        return;
    }
    let parts = connection.into_parts();
    let upgraded = left.take();
    match upgraded {
        Some(upgraded) => upgrade::relay(parts.io.with_ahead(parts.read_buf), upgraded).await,
        None => shut(parts.io).await,
    }
}

/// Serves HTTP/2.
pub(crate) async fn http2(downstream: Rc<Downstream>, io: HboneIo) {
    let serving = downstream.clone();
    // A stream of HTTP/2 cannot leave HTTP, so nothing is ever put there.
    let slot = upgrade::Slot::default();
    let service =
        service_fn(move |request| Box::pin(exchange::run(serving.clone(), slot.clone(), request)));
    let mut connection = pin!(
        http2::Builder::new(LocalExecutor)
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_concurrent_streams(MAX_STREAMS)
            .max_header_list_size(HEADER_LIST)
            .serve_connection(io, service)
    );
    let mut drain = downstream.worker.drain.clone();
    let mut told = false;
    let served = loop {
        tokio::select! {
            biased;
            served = poll_fn(|cx| connection.as_mut().poll(cx)) => break served,
            _ = drain.signalled(), if !told => {
                connection.as_mut().graceful_shutdown();
                told = true;
            }
        }
    };
    if let Err(error) = served {
        tracing::debug!(src.addr = %downstream.client, %error, "HTTP/2 connection ended");
    }
}

/// Ends a stream cleanly.
pub(crate) async fn shut(mut io: impl Write + Unpin) {
    // A peer that is gone needs no end.
    let _ = poll_fn(|cx| Pin::new(&mut io).poll_shutdown(cx)).await;
}
