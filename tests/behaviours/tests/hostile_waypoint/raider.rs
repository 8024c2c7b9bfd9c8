//! Somebody with an identity who opens tunnels to a waypoint and says what it likes in them.
//! In: bytes. Out: what came back until the end.

use crate::attacker::Attacker;
use crate::stage::SOON;
use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use http::{Method, Request, StatusCode};
use rustls::ClientConfig;
use std::sync::Arc;
use tokio::task::JoinSet;

/// An attacker with a certificate.
#[derive(Clone)]
pub(crate) struct Raider {
    pub(crate) attacker: Attacker,
    pub(crate) tls: Arc<ClientConfig>,
}

/// A tunnel; dropped, it breaks.
pub(crate) struct Tunnel {
    send: SendRequest<Bytes>,
    _driver: JoinSet<()>,
}

/// A stream in a tunnel, after 200.
pub(crate) struct Stream {
    pub(crate) to: SendStream<Bytes>,
    pub(crate) from: RecvStream,
}

impl Raider {
    /// Opens a tunnel.
    pub(crate) async fn tunnel(&self) -> Result<Tunnel> {
        let stream = self.attacker.tls(&self.tls).await?;
        let handshake = h2::client::Builder::new()
            .max_frame_size(1 << 20)
            .initial_window_size(4 << 20)
            .initial_connection_window_size(16 << 20)
            .handshake::<_, Bytes>(stream);
        let (send, connection) = handshake.await?;
        let mut driver = JoinSet::new();
        driver.spawn(async move {
            // How it ends shows in its streams.
            drop(connection.await);
        });
        Ok(Tunnel {
            send,
            _driver: driver,
        })
    }
}

impl Tunnel {
    /// Sends a request; the answer's status and `x-ambit-reason`, and the stream.
    pub(crate) async fn ask(
        &mut self,
        request: Request<()>,
    ) -> Result<(StatusCode, String, Stream)> {
        let ready = std::future::poll_fn(|cx| self.send.poll_ready(cx));
        tokio::time::timeout(SOON, ready)
            .await
            .context("no room")??;
        let (answer, to) = self.send.send_request(request, false)?;
        let answer = tokio::time::timeout(SOON, answer)
            .await
            .context("no answer")??;
        let reason = answer.headers().get("x-ambit-reason");
        let reason = reason.and_then(|r| r.to_str().ok()).unwrap_or_default();
        let (status, reason) = (answer.status(), reason.to_owned());
        let from = answer.into_body();
        Ok((status, reason, Stream { to, from }))
    }

    /// Opens a stream to `authority`.
    pub(crate) async fn open(&mut self, authority: &str) -> Result<Stream> {
        let (status, reason, stream) = self.ask(connect(authority)).await?;
        ensure!(status == StatusCode::OK, "{status} {reason}");
        Ok(stream)
    }
}

impl Stream {
    /// Says `bytes` and listens to the end.
    pub(crate) async fn says(mut self, bytes: impl Into<Bytes>) -> Result<Vec<u8>> {
        // The waypoint may have had enough before everything is said.
        let _ = self.to.send_data(bytes.into(), false);
        self.hears().await
    }

    /// Listens until the waypoint ends the stream, in whatever way.
    pub(crate) async fn hears(&mut self) -> Result<Vec<u8>> {
        let mut heard = Vec::new();
        let listen = async {
            while let Some(Ok(bytes)) = self.from.data().await {
                heard.extend_from_slice(&bytes);
                // Fails where the stream is gone, which the next read tells.
                let _ = self.from.flow_control().release_capacity(bytes.len());
            }
        };
        tokio::time::timeout(SOON, listen)
            .await
            .context("still open")?;
        Ok(heard)
    }
}

/// A CONNECT.
pub(crate) fn connect(authority: &str) -> Request<()> {
    let mut request = Request::new(());
    *request.method_mut() = Method::CONNECT;
    *request.uri_mut() = authority.parse().expect("tests ask for what can be sent");
    request
}
