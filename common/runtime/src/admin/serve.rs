//! The server: accepts, reads one request at a time, calls the routes, stops on drain.

use super::route::{Reply, Request, Routes, parse_query};
use crate::drain;
use crate::tasks::TaskGroup;
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};

const HEADER_TIMEOUT: Duration = Duration::from_secs(2);
const BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// CPU profiles may take up to five minutes.
const HANDLER_TIMEOUT: Duration = Duration::from_secs(360);
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
const MAX_BODY: usize = 1 << 20;
const MAX_CONNECTIONS: usize = 256;

/// A bound admin port.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    local: SocketAddr,
    counters: Arc<ServerCounters>,
}

/// What a server has seen.
#[derive(Debug, Default)]
pub struct ServerCounters {
    /// Connections accepted.
    pub accepted: AtomicU64,
    /// Connections closed at once because 256 were open.
    pub refused: AtomicU64,
}

/// Why a port cannot be served.
#[derive(Debug, Error)]
#[error("cannot listen on {addr}")]
pub struct BindError {
    /// Address asked for.
    pub addr: SocketAddr,
    /// Cause.
    #[source]
    pub source: std::io::Error,
}

impl Server {
    /// Binds a port. Port 0 takes a free one, see [`Self::local_addr`].
    pub async fn bind(addr: SocketAddr) -> Result<Self, BindError> {
        let listener = TcpListener::bind(addr)
            .await
            .map_err(|source| BindError { addr, source })?;
        Self::from_listener(listener).map_err(|source| BindError { addr, source })
    }

    /// Takes a listener made elsewhere, for example in another network namespace.
    pub fn from_listener(listener: TcpListener) -> std::io::Result<Self> {
        let local = listener.local_addr()?;
        Ok(Self {
            listener,
            local,
            counters: Arc::default(),
        })
    }

    /// Where it listens.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Counters, for metrics.
    pub fn counters(&self) -> Arc<ServerCounters> {
        self.counters.clone()
    }

    /// Serves until the drain's deadline, so that readiness and metrics stay visible during it.
    /// Connections are closed when it returns or is dropped.
    pub async fn serve(self, routes: Routes, mut drain: drain::Watch) {
        let routes = Arc::new(routes);
        let mut connections = TaskGroup::new("admin");
        // The watch would keep the drain waiting for the server, which waits for the drain.
        let mut end = std::pin::pin!(async move {
            let begun = drain.signalled().await;
            drop(drain);
            tokio::time::sleep_until(begun.deadline).await;
        });
        loop {
            let accepted = tokio::select! {
                () = &mut end => return,
                accepted = self.listener.accept() => accepted,
            };
            connections.reap();
            match accepted {
                Ok((stream, peer)) => {
                    self.counters.accepted.fetch_add(1, Ordering::Relaxed);
                    if connections.len() >= MAX_CONNECTIONS {
                        self.counters.refused.fetch_add(1, Ordering::Relaxed);
                        continue;
                    }
                    connections.spawn("admin connection", connection(stream, peer, routes.clone()));
                }
                Err(error) => {
                    tracing::warn!(addr = %self.local, %error, "admin accept failed");
                    // Out of descriptors: accepting again at once would spin.
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

async fn connection(stream: TcpStream, peer: SocketAddr, routes: Arc<Routes>) {
    let service = service_fn(move |request| {
        let routes = routes.clone();
        async move { Ok::<_, Infallible>(respond(request, peer, &routes).await) }
    });
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(64 * 1024)
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(src.addr = %peer, %error, "admin connection ended");
    }
}

async fn respond(
    request: http::Request<Incoming>,
    peer: SocketAddr,
    routes: &Routes,
) -> Response<Full<Bytes>> {
    let (parts, body) = request.into_parts();
    let reply = match read_body(body).await {
        Err(refusal) => refusal,
        Ok(body) => {
            let request = Request {
                method: parts.method,
                path: parts.uri.path().to_owned(),
                query: parse_query(parts.uri.query().unwrap_or("")),
                headers: parts.headers,
                body,
                peer,
            };
            tokio::time::timeout(HANDLER_TIMEOUT, routes.answer(request))
                .await
                .unwrap_or_else(|_| Reply::error(StatusCode::GATEWAY_TIMEOUT, "took too long\n"))
        }
    };
    let mut response = Response::new(Full::new(reply.body));
    *response.status_mut() = reply.status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(reply.content_type),
    );
    // A page in a browser must not be able to sniff or frame what an admin port says.
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    response
}

async fn read_body(body: Incoming) -> Result<Bytes, Reply> {
    let too_large = || Reply::error(StatusCode::PAYLOAD_TOO_LARGE, "body refused\n");
    // A declared length is refused before the first byte of it.
    if body.size_hint().lower() > MAX_BODY as u64 {
        return Err(too_large());
    }
    match tokio::time::timeout(BODY_TIMEOUT, Limited::new(body, MAX_BODY).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(_)) => Err(too_large()),
        Err(_) => Err(Reply::error(StatusCode::REQUEST_TIMEOUT, "body too slow\n")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::readiness::Readiness;
    use crate::tasks;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn started(routes: Routes) -> (SocketAddr, drain::Trigger, tasks::Task<()>) {
        let (trigger, watch) = drain::channel();
        let server = Server::bind(([127, 0, 0, 1], 0).into()).await.unwrap();
        let addr = server.local_addr();
        (
            addr,
            trigger,
            tasks::spawn("server", server.serve(routes, watch)),
        )
    }

    async fn exchange(addr: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(addr).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut out = Vec::new();
        stream.read_to_end(&mut out).await.unwrap();
        String::from_utf8(out).unwrap()
    }

    #[tokio::test]
    async fn serves_readiness_and_posts() {
        let readiness = Readiness::new();
        let gate = readiness.gate("proxy");
        let routes = readiness
            .routes(Routes::new())
            .post("/echo", "echo", |r| Reply::text(r.body));
        let (addr, trigger, server) = started(routes).await;
        let get = "GET /healthz/ready HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        assert!(exchange(addr, get).await.starts_with("HTTP/1.1 500 "));
        gate.open();
        let ready = exchange(addr, get).await;
        assert!(
            ready.starts_with("HTTP/1.1 200 OK") && ready.ends_with("ready\n"),
            "{ready}"
        );
        let post =
            "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc";
        assert!(exchange(addr, post).await.ends_with("abc"));
        trigger.start(Duration::ZERO);
        assert_eq!(server.await, tasks::End::Returned(()));
    }

    #[tokio::test]
    async fn oversized_bodies_and_garbage_are_refused() {
        let (addr, _trigger, _server) =
            started(Routes::new().post("/echo", "echo", |r| Reply::text(r.body))).await;
        let big = format!(
            "POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
            MAX_BODY + 1
        );
        assert!(exchange(addr, &big).await.starts_with("HTTP/1.1 413 "));
        assert!(
            exchange(addr, "\0\u{1}garbage\r\n\r\n")
                .await
                .starts_with("HTTP/1.1 400 ")
        );
    }
}
