//! A server that answers every unary call with the message it got.
//! In: HTTP/2 connections. Out: the message, framed and encoded as it came, the version of this server, a status
//! in the trailers. Owns: its connections, nothing else.

use super::{CONTENT_TYPE, ENCODING, FAIL, STATUS};
use crate::server::VERSION_HEADER;
use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;

/// Largest request.
const MOST: usize = 4 << 20;

/// Arguments of `bookinfo grpc-serve`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Address to listen on
    #[arg(long, env = "LISTEN", default_value = "0.0.0.0:9090")]
    listen: SocketAddr,
    /// Version, as the sample's `version` label
    #[arg(long, env = "SERVICE_VERSION", default_value = "v1")]
    version: String,
}

/// Serves until a signal.
pub(crate) async fn serve(args: Args) -> anyhow::Result<()> {
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    let version = HeaderValue::from_str(&args.version).context("version is not a header value")?;
    let mut term = signal(SignalKind::terminate())?;
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                };
                let version = version.clone();
                let answers = service_fn(move |request| answer(request, version.clone()));
                let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                // A client that goes away is part of the job.
                connections.spawn(async move {
                    let _ = server.serve_connection(TokioIo::new(stream), answers).await;
                });
            }
            _ = connections.join_next(), if !connections.is_empty() => {}
            _ = term.recv() => return Ok(()),
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    version: HeaderValue,
) -> Result<Response<BoxBody<Bytes, Infallible>>, Infallible> {
    let (head, body) = request.into_parts();
    let wanted = head.headers.get(FAIL).cloned();
    let body = Limited::new(body, MOST).collect().await;
    let (status, message) = match (body, wanted) {
        (Ok(body), None) => (HeaderValue::from_static("0"), body.to_bytes()),
        (Ok(_), Some(status)) => (status, Bytes::new()),
        // INTERNAL: the message is not whole.
        (Err(_), _) => (HeaderValue::from_static("13"), Bytes::new()),
    };
    let trailers = HeaderMap::from_iter([(STATUS, status)]);
    let body = Full::new(message).with_trailers(std::future::ready(Some(Ok(trailers))));
    let mut response = Response::new(body.boxed());
    let headers = response.headers_mut();
    headers.insert(
        http::header::CONTENT_TYPE,
        HeaderValue::from_static(CONTENT_TYPE),
    );
    headers.insert(VERSION_HEADER, version);
    if let Some(encoding) = head.headers.get(ENCODING) {
        headers.insert(ENCODING, encoding.clone());
    }
    Ok(response)
}
