//! An application's node proxy: opens streams to the waypoint and speaks on them.

use crate::backend::Local;
use crate::mesh::{VIP, id};
use ambit_hbone::io::{OpenError, Pool, Settings, StreamIo, TunnelKey};
use ambit_hbone::wire::{ConnectRequest, Forwarded};
use ambit_identity::Svid;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// A client with one identity.
pub(crate) struct Client {
    svid: Arc<Svid>,
    waypoint: SocketAddr,
    tunnels: Pool,
}

/// A response, read to its end.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Client {
    pub(crate) fn new(svid: Arc<Svid>, waypoint: SocketAddr) -> Self {
        Self {
            svid,
            waypoint,
            tunnels: Pool::new(Settings::default()),
        }
    }

    /// A stream to `authority`, for example `10.96.0.1:80`.
    pub(crate) async fn open(&self, authority: &str) -> Result<StreamIo, OpenError> {
        let key = TunnelKey {
            source: id("client"),
            expected: [id("waypoint")].into(),
            to: self.waypoint,
            from: 0,
        };
        let mut request = ConnectRequest::new(authority.parse().unwrap());
        let client = "127.0.0.1:4321".parse().unwrap();
        request.forwarded = Some(Forwarded { client, host: None });
        let to = self.waypoint;
        let dial = move || TcpStream::connect(to);
        Ok(self
            .tunnels
            .open(&key, &self.svid, dial, &request)
            .await?
            .stream
            .into_io())
    }

    /// An HTTP/1.1 connection to the service.
    pub(crate) async fn http1(&self) -> Http1 {
        self.http1_to(&format!("{VIP}:80")).await
    }

    /// An HTTP/1.1 connection to `authority`.
    pub(crate) async fn http1_to(&self, authority: &str) -> Http1 {
        let io = self.open(authority).await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(io)).await.unwrap();
        Http1(sender, tokio::task::spawn_local(connection))
    }

    /// An HTTP/2 connection to the service.
    pub(crate) async fn http2(&self) -> Http2 {
        let io = self.open(&format!("{VIP}:80")).await.unwrap();
        let (sender, connection) = http2::handshake(Local, TokioIo::new(io)).await.unwrap();
        Http2(sender, tokio::task::spawn_local(connection))
    }
}

/// An HTTP/1.1 connection in plaintext, as from outside the mesh.
pub(crate) async fn plain_http1(to: SocketAddr) -> Http1 {
    let io = TokioIo::new(TcpStream::connect(to).await.unwrap());
    let (sender, connection) = http1::handshake(io).await.unwrap();
    Http1(sender, tokio::task::spawn_local(connection))
}

/// HTTP/2 with prior knowledge in plaintext.
pub(crate) async fn plain_http2(to: SocketAddr) -> Http2 {
    let io = TokioIo::new(TcpStream::connect(to).await.unwrap());
    let (sender, connection) = http2::handshake(Local, io).await.unwrap();
    Http2(sender, tokio::task::spawn_local(connection))
}

type Driver = JoinHandle<hyper::Result<()>>;

pub(crate) struct Http1(pub(crate) http1::SendRequest<Full<Bytes>>, Driver);

impl Http1 {
    /// Waits until the connection has ended.
    pub(crate) async fn closed(&mut self) {
        let _ = (&mut self.1).await.unwrap();
    }

    pub(crate) async fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> Got {
        self.send("GET", path, headers, "").await
    }

    pub(crate) async fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Got {
        let mut request = Request::builder().method(method).uri(path);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header("host", "web");
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request
            .body(Full::new(Bytes::from(body.to_owned())))
            .unwrap();
        self.0.ready().await.unwrap();
        read(self.0.send_request(request).await.unwrap()).await
    }
}

pub(crate) struct Http2(http2::SendRequest<Full<Bytes>>, Driver);

impl Http2 {
    pub(crate) async fn get(&mut self, path: &str, headers: &[(&str, &str)]) -> Got {
        let mut request = Request::builder()
            .uri(format!("http://web{path}"))
            .version(Version::HTTP_2);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::default()).unwrap();
        self.0.ready().await.unwrap();
        read(self.0.send_request(request).await.unwrap()).await
    }
}

impl Http2 {
    /// Waits until the connection has ended.
    pub(crate) async fn closed(&mut self) {
        let _ = (&mut self.1).await.unwrap();
    }

    /// A request with a body.
    pub(crate) async fn post(&mut self, path: &str, kind: &str, body: &'static str) -> Got {
        let request = Request::post(format!("http://web{path}"))
            .version(Version::HTTP_2)
            .header("content-type", kind)
            .body(Full::from(body))
            .unwrap();
        self.0.ready().await.unwrap();
        read(self.0.send_request(request).await.unwrap()).await
    }
}

async fn read(response: Response<hyper::body::Incoming>) -> Got {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Got {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}
