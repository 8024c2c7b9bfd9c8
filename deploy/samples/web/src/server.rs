//! The HTTP server of helloworld and httpbin.
//! In: listening addresses. Out: whole requests to one function, its answers back, a line per request on
//! standard output. Owns: connections, at most [`CONNECTIONS`] at once; SIGTERM lets running ones finish.

use std::future::Future;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use crate::request::{Request, text};

/// Largest request body, in bytes.
pub const BODY_LIMIT: usize = 16 << 20;
/// Most connections at once; more wait in the kernel.
const CONNECTIONS: usize = 4096;
/// How long a client may take to send its headers.
const HEADERS: Duration = Duration::from_secs(30);
/// How long a stopping server lets running requests finish.
const GRACE: Duration = Duration::from_secs(5);

/// Answers requests.
pub trait App: Send + Sync + 'static {
    /// Answers one.
    fn answer(&self, request: Request) -> impl Future<Output = Response<Bytes>> + Send;
}

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// An address that cannot be listened on.
pub async fn serve<A: App>(addresses: &[SocketAddr], app: A) -> anyhow::Result<()> {
    let app = Arc::new(app);
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    let mut ports = JoinSet::new();
    for address in addresses {
        let listener = match TcpListener::bind(address).await {
            Ok(listener) => listener,
            // A low port, and neither root nor a sysctl that allows it: the others serve.
            Err(error) if error.kind() == std::io::ErrorKind::PermissionDenied => continue,
            Err(error) => return Err(error).with_context(|| format!("cannot listen on {address}")),
        };
        let stop = signal(SignalKind::terminate()).context("watch for SIGTERM")?;
        ports.spawn(port(listener, app.clone(), room.clone(), stop));
    }
    anyhow::ensure!(!ports.is_empty(), "may not listen on {addresses:?}");
    while ports.join_next().await.is_some() {}
    Ok(())
}

async fn port<A: App>(listener: TcpListener, app: Arc<A>, room: Arc<Semaphore>, mut stop: Signal) {
    let mut connections = JoinSet::new();
    loop {
        // Never closed, so a permit always comes.
        let permit = tokio::select! {
            permit = room.clone().acquire_owned() => permit.ok(),
            _ = stop.recv() => break,
            _ = tokio::signal::ctrl_c() => break,
        };
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    connections.spawn(connection(stream, peer, app.clone(), permit));
                }
                // Out of descriptors: give running connections a chance to end.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            _ = connections.join_next(), if !connections.is_empty() => {}
            _ = stop.recv() => break,
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    drop(listener);
    let finish = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(GRACE, finish).await;
}

async fn connection<A: App>(
    stream: TcpStream,
    peer: SocketAddr,
    app: Arc<A>,
    _permit: Option<OwnedSemaphorePermit>,
) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let app = app.clone();
        async move {
            Ok::<_, std::convert::Infallible>(whole(&*app, request, peer).await.map(Full::new))
        }
    });
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADERS);
    builder.http2().timer(TokioTimer::new());
    // A client that goes away is its own business.
    let _ = builder
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn whole<A: App>(
    app: &A,
    request: http::Request<Incoming>,
    peer: SocketAddr,
) -> Response<Bytes> {
    let (head, body) = request.into_parts();
    let line = format!("{peer} {} {}", head.method, head.uri);
    let response = match Limited::new(body, BODY_LIMIT).collect().await {
        Ok(body) => {
            app.answer(Request {
                head,
                body: body.to_bytes(),
                peer,
            })
            .await
        }
        Err(_) => text(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the body is too large or broken\n",
        ),
    };
    // A log that nobody takes is no reason to stop serving.
    let _ = writeln!(std::io::stdout(), "{line} {}", response.status().as_u16());
    response
}
