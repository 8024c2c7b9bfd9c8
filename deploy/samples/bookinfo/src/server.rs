//! HTTP/1.1 server shared by the four services.
//! In: connections on one listening address. Out: whole requests to one [`App`], its answers back.
//! Owns: the connection tasks; SIGTERM stops the listener and lets running requests finish.
//! Never here: what a path means.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

use crate::answer::{json, query_value};
use crate::echo::Echo;

/// Header that names the version of the service that answered.
pub(crate) const VERSION_HEADER: &str = "x-bookinfo-version";
/// Largest request body read; an upload is counted, never kept.
const BODY_LIMIT: usize = 256 << 20;
/// How long a stopping server lets running requests finish.
const GRACE: Duration = Duration::from_secs(5);

/// Where and as what a service runs.
#[derive(clap::Args, Clone)]
pub(crate) struct Listen {
    /// Address to listen on
    #[arg(long, env = "LISTEN", default_value = "0.0.0.0:9080")]
    pub(crate) listen: SocketAddr,
    /// Version, as the sample's `version` label
    #[arg(long, env = "SERVICE_VERSION", default_value = "v1")]
    pub(crate) version: String,
    /// Pod name shown in answers, as the sample does
    #[arg(long, env = "HOSTNAME", default_value = "unknown")]
    pub(crate) pod: String,
}

/// One service: a whole request in, a whole answer out.
pub(crate) trait App: Send + Sync + 'static {
    /// Answers one request.
    fn answer(&self, request: Request<Bytes>) -> impl Future<Output = Response<Bytes>> + Send;
}

/// Serves `app` until SIGTERM or SIGINT.
pub(crate) async fn serve<A: App>(listen: &Listen, app: A) -> anyhow::Result<()> {
    let listener = TcpListener::bind(listen.listen)
        .await
        .with_context(|| format!("cannot listen on {}", listen.listen))?;
    let version =
        HeaderValue::from_str(&listen.version).context("version is not a header value")?;
    let (app, echo) = (Arc::new(app), Arc::new(Echo::default()));
    let mut term = signal(SignalKind::terminate())?;
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    let apps = (app.clone(), echo.clone());
                    connections.spawn(connection(stream, apps, version.clone()));
                }
                // Out of descriptors: give running connections a chance to end.
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            _ = connections.join_next(), if !connections.is_empty() => {}
            _ = term.recv() => break,
            _ = tokio::signal::ctrl_c() => break,
        }
    }
    drop(listener);
    let finish = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(GRACE, finish).await;
    Ok(())
}

async fn connection<A: App>(stream: TcpStream, apps: (Arc<A>, Arc<Echo>), version: HeaderValue) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let (app, echo) = apps.clone();
        let version = version.clone();
        async move {
            let mut response = whole((app.as_ref(), &echo), request).await;
            response.headers_mut().insert(VERSION_HEADER, version);
            Ok::<_, std::convert::Infallible>(response.map(Full::new))
        }
    });
    // A client that goes away is its own business.
    let _ = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn whole<A: App>((app, echo): (&A, &Echo), request: Request<Incoming>) -> Response<Bytes> {
    let (head, body) = request.into_parts();
    if head.method == http::Method::POST && head.uri.path() == "/upload" {
        return count(body).await;
    }
    if head.uri.path() == "/download" {
        return download(head.uri.query());
    }
    match Limited::new(body, 1 << 20).collect().await {
        Ok(body) if Echo::serves(head.uri.path()) => {
            echo.answer(&head, body.to_bytes().len()).await
        }
        Ok(body) => app.answer(Request::from_parts(head, body.to_bytes())).await,
        Err(_) => json(
            StatusCode::PAYLOAD_TOO_LARGE,
            &serde_json::json!({"error": "body"}),
        ),
    }
}

/// `POST /upload`: reads and counts the body, for checks that need a known number of bytes on the wire.
async fn count(mut body: Incoming) -> Response<Bytes> {
    let mut received = 0_usize;
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => received += frame.data_ref().map_or(0, Bytes::len),
            Err(_) => {
                return json(
                    StatusCode::BAD_REQUEST,
                    &serde_json::json!({"received": received}),
                );
            }
        }
        if received > BODY_LIMIT {
            return json(
                StatusCode::PAYLOAD_TOO_LARGE,
                &serde_json::json!({"received": received}),
            );
        }
    }
    json(StatusCode::OK, &serde_json::json!({"received": received}))
}

/// `GET /download?bytes=N`: answers with N bytes.
fn download(query: Option<&str>) -> Response<Bytes> {
    let bytes = query_value(query, "bytes")
        .and_then(|n| n.parse::<usize>().ok())
        .unwrap_or(0);
    Response::new(Bytes::from(vec![b'x'; bytes.min(BODY_LIMIT)]))
}

/// `404` as JSON.
pub(crate) fn not_found(path: &str) -> Response<Bytes> {
    json(
        StatusCode::NOT_FOUND,
        &serde_json::json!({"error": "not found", "path": path}),
    )
}
