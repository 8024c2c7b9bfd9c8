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
        let io = self.open(&format!("{VIP}:80")).await.unwrap();
        let (sender, connection) = http1::handshake(TokioIo::new(io)).await.unwrap();
        tokio::task::spawn_local(connection);
        Http1(sender)
    }

    /// An HTTP/2 connection to the service.
    pub(crate) async fn http2(&self) -> Http2 {
        let io = self.open(&format!("{VIP}:80")).await.unwrap();
        let (sender, connection) = http2::handshake(Local, TokioIo::new(io)).await.unwrap();
        tokio::task::spawn_local(connection);
        Http2(sender)
    }
}

pub(crate) struct Http1(pub(crate) http1::SendRequest<Full<Bytes>>);

impl Http1 {
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

pub(crate) struct Http2(http2::SendRequest<Full<Bytes>>);

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

async fn read(response: Response<hyper::body::Incoming>) -> Got {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Got {
        status: parts.status,
        headers: parts.headers,
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}
