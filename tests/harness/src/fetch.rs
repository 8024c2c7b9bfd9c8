//! HTTP requests from inside a namespace: metrics, admin, probes of the lab itself.
//! In: a namespace, an address, a path. Out: the whole answer.
//! Never here: traffic of pods. A pod's connection is captured because its process is in the pod's
//! cgroup; use `Lab::exec` for that.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use thiserror::Error;

use crate::netns;

/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer read.
const LIMIT: usize = 32 << 20;

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum HttpError {
    /// No connection.
    #[error("cannot connect to {to}")]
    Connect {
        /// Where
        to: SocketAddr,
        /// Why
        #[source]
        source: io::Error,
    },
    /// The exchange broke.
    #[error("request to {to}")]
    Exchange {
        /// Where
        to: SocketAddr,
        /// Why
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Too slow.
    #[error("no whole answer from {to} within {TIMEOUT:?}")]
    Timeout {
        /// Where
        to: SocketAddr,
    },
}

/// GETs `path` at `to` from inside `netns`.
///
/// # Errors
/// [`HttpError`]; a status other than 200 is an answer.
pub async fn get(netns: &Path, to: SocketAddr, path: &str) -> Result<Response<Bytes>, HttpError> {
    let request = Request::get(path).header(http::header::HOST, to.to_string());
    match request.body(Full::default()) {
        Ok(request) => send(netns, to, request).await,
        Err(error) => Err(HttpError::Exchange {
            to,
            source: error.into(),
        }),
    }
}

/// Sends one request to `to` from inside `netns`.
///
/// # Errors
/// [`HttpError`].
pub async fn send(
    netns: &Path,
    to: SocketAddr,
    request: Request<Full<Bytes>>,
) -> Result<Response<Bytes>, HttpError> {
    let whole = async {
        let stream = netns::connect(netns, to, TIMEOUT)
            .await
            .map_err(|source| HttpError::Connect { to, source })?;
        exchange(stream, request)
            .await
            .map_err(|source| HttpError::Exchange { to, source })
    };
    tokio::time::timeout(TIMEOUT, whole)
        .await
        .map_err(|_| HttpError::Timeout { to })?
}

/// One request over a connected stream.
///
/// # Errors
/// Whatever broke.
pub async fn exchange(
    stream: tokio::net::TcpStream,
    request: Request<Full<Bytes>>,
) -> Result<Response<Bytes>, Box<dyn std::error::Error + Send + Sync>> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let answer = async {
        let (head, body) = sender.send_request(request).await?.into_parts();
        let body = Limited::new(body, LIMIT).collect().await?;
        Ok(Response::from_parts(head, body.to_bytes()))
    };
    tokio::pin!(answer);
    tokio::select! {
        answer = &mut answer => answer,
        // The server may close right after a whole answer.
        _ = connection => answer.await,
    }
}
