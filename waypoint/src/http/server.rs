//! HTTP/1.1 and HTTP/2 on a CONNECT stream or a plaintext connection.
//! In: the stream, what is spoken on it. Out: requests to `exchange`, until the stream or the drain
//! ends it. An HTTP/1.1 connection that was upgraded becomes a relay of bytes.
//! Must not happen here: a wait for the client without a limit (`limits`), a connection that outlives
//! the drain's deadline.

use super::exchange::{self, Asked};
use super::{broken, upgrade};
use crate::downstream::Downstream;
use crate::outcome::Malformed;
use crate::stream_io::{ClientIn, ClientOut, StreamIo};
use crate::upstream::pool::LocalExecutor;
use crate::watch::{Overdue, Watch};
use ambit_runtime::drain;
use http::{HeaderValue, StatusCode, Version, header};
use hyper::rt::Write;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioTimer;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::time::Duration;

/// Receive windows of HTTP/2.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// Who asks nothing for so long while we drain is not about to ask.
const QUIET: Duration = Duration::from_secs(15);
/// What a last answer may take.
const MARGIN: Duration = Duration::from_secs(2);
/// How long a client may take to read that it was too slow.
const LAST_WORDS: Duration = Duration::from_secs(1);
const TOO_SLOW: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";

/// How an HTTP connection ended.
enum End {
    Served(hyper::Result<()>),
    Overdue(Overdue),
}

/// Serves HTTP/1.1.
pub(crate) async fn http1<I: ClientIn, O: ClientOut>(
    downstream: Rc<Downstream>,
    io: StreamIo<I, O>,
) {
    let limits = downstream.worker.limits;
    let (serving, left) = (downstream.clone(), upgrade::Slot::default());
    let (slot, watch) = (left.clone(), Watch::new());
    let io = io.watched_by(watch.clone());
    let begins = watch.clone();
    let service = service_fn(move |request| {
        let asked = Asked {
            framed_twice: begins.framed_twice(),
            slot: slot.clone(),
            serving: begins.begin(),
        };
        let serving = serving.clone();
        Box::pin(async move {
            let mut response = exchange::run(serving.clone(), asked, request).await?;
            if serving.worker.leaving.begun().is_some()
                && response.status() != StatusCode::SWITCHING_PROTOCOLS
            {
                let headers = response.headers_mut();
                headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        })
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // The library's clock also runs while nothing is asked; ours starts with the first byte.
        .header_read_timeout(None)
        .max_buf_size(limits.header_bytes as usize)
        .max_headers(limits.headers)
        .serve_connection(io, service);
    let mut abandoned = pin!(abandoned(downstream.worker.drain.clone(), &watch));
    let mut overdue = pin!(watch.overdue(&limits));
    let mut told = false;
    let end = loop {
        tokio::select! {
            biased;
            served = poll_fn(|cx| connection.poll_without_shutdown(cx)) => break End::Served(served),
            overdue = &mut overdue => break End::Overdue(overdue),
            () = &mut abandoned, if !told => {
                Pin::new(&mut connection).graceful_shutdown();
                told = true;
            }
        }
    };
    let mut parts = connection.into_parts();
    match end {
        End::Served(Ok(())) => {
            if let Some(upgraded) = left.take() {
                let io = parts.io.with_ahead(parts.read_buf);
                return upgrade::relay(io, upgraded).await;
            }
        }
        End::Served(Err(error)) => broken::connection(&downstream, Version::HTTP_11, &error),
        End::Overdue(Overdue::Idle) => {}
        End::Overdue(Overdue::Head) => {
            broken::unanswered(&downstream, Malformed::TooSlow);
            // Who does not read it learns it from the end of the stream.
            let _ = tokio::time::timeout(LAST_WORDS, say(&mut parts.io, TOO_SLOW)).await;
        }
    }
    shut(parts.io).await;
}

/// Resolves during a drain once nothing was asked on the connection for long, or little time is left. A client
/// that is about to ask hears with the answer that the connection ends; closed at once, it could not know
/// whether its request was taken.
async fn abandoned(mut drain: drain::Watch, watch: &Watch) {
    let deadline = drain.signalled().await.deadline;
    let last = deadline.checked_sub(MARGIN).unwrap_or(deadline);
    tokio::select! {
        () = watch.quiet(QUIET) => {}
        () = tokio::time::sleep_until(last) => {}
    }
}

/// Serves HTTP/2.
pub(crate) async fn http2<I: ClientIn, O: ClientOut>(
    downstream: Rc<Downstream>,
    io: StreamIo<I, O>,
) {
    let limits = downstream.worker.limits;
    let (serving, watch) = (downstream.clone(), Watch::new());
    let begins = watch.clone();
    let service = service_fn(move |request| {
        let asked = Asked {
            framed_twice: false,
            // A stream of HTTP/2 cannot leave HTTP, so nothing is ever put there.
            slot: upgrade::Slot::default(),
            serving: begins.begin(),
        };
        Box::pin(exchange::run(serving.clone(), asked, request))
    });
    let mut connection = pin!(
        http2::Builder::new(LocalExecutor)
            .timer(TokioTimer::new())
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_concurrent_streams(limits.streams)
            // The library answers what is larger by itself and says nothing; up to here we do.
            .max_header_list_size(limits.header_bytes.saturating_mul(2))
            .keep_alive_interval(limits.ping)
            .keep_alive_timeout(limits.pong)
            .serve_connection(io, service)
    );
    let mut drain = downstream.worker.drain.clone();
    let mut overdue = pin!(watch.overdue(&limits));
    let mut told = false;
    let served = loop {
        tokio::select! {
            biased;
            served = poll_fn(|cx| connection.as_mut().poll(cx)) => break served,
            _ = &mut overdue, if !told => {
                connection.as_mut().graceful_shutdown();
                told = true;
            }
            _ = drain.signalled(), if !told => {
                connection.as_mut().graceful_shutdown();
                told = true;
            }
        }
    };
    if let Err(error) = served {
        broken::connection(&downstream, Version::HTTP_2, &error);
    }
}

async fn say(io: &mut (impl Write + Unpin), mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        let n = poll_fn(|cx| Pin::new(&mut *io).poll_write(cx, bytes)).await?;
        bytes = &bytes[n..];
    }
    poll_fn(|cx| Pin::new(&mut *io).poll_flush(cx)).await
}

/// Ends a stream cleanly.
pub(crate) async fn shut(mut io: impl Write + Unpin) {
    // A peer that is gone needs no end.
    let _ = poll_fn(|cx| Pin::new(&mut io).poll_shutdown(cx)).await;
}
