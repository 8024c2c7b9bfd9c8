//! One HTTP/1.1 request to a process in another network namespace, or in a pod. Every wait has a
//! deadline.

use crate::cluster::Cluster;
use ambit_net::netns::Netns;
use anyhow::{Context, Result, bail};
use futures::future::{Either, select};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::pin::pin;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

const DEADLINE: Duration = Duration::from_secs(5);
const EXPLANATION: Duration = Duration::from_millis(500);
const THROUGH_SERVER: Duration = Duration::from_secs(20);
/// A config dump of 100k workloads fits; an endless answer does not.
const LARGEST_ANSWER: usize = 512 << 20;

/// What is asked.
pub(crate) struct Ask<'a> {
    pub(crate) method: &'a str,
    pub(crate) path: &'a str,
    /// Bearer token.
    pub(crate) token: Option<&'a str>,
}

/// Sends a request without a body and returns the answer's text; a status of 400 or more is an error.
pub(crate) async fn request(netns: &Path, to: SocketAddr, ask: &Ask<'_>) -> Result<String> {
    let stream = dial(netns, to)?;
    tokio::time::timeout(DEADLINE, exchange(stream, ask))
        .await
        .with_context(|| format!("no answer within {DEADLINE:?}"))?
}

/// A connection inside a network namespace.
///
/// # Errors
/// If the namespace cannot be entered or nothing answers.
pub(crate) fn dial(netns: &Path, to: SocketAddr) -> Result<tokio::net::TcpStream> {
    let dial = || TcpStream::connect_timeout(&to, DEADLINE);
    let stream = Netns::open(netns)?.enter(dial)?.context("connect")?;
    stream.set_nonblocking(true)?;
    Ok(tokio::net::TcpStream::from_std(stream)?)
}

/// The same through the API server. Opening the way there counts, too.
pub(crate) async fn request_pod(
    cluster: &Cluster,
    (namespace, pod, port): (&str, &str, u16),
    ask: &Ask<'_>,
) -> Result<String> {
    let answer = async {
        let way = cluster.forward(namespace, pod, port).await?;
        let answer = exchange(way.stream, ask).await;
        let Err(error) = answer else { return answer };
        // A refused port ends the connection first and is explained just after.
        match tokio::time::timeout(EXPLANATION, way.error).await {
            Ok(Some(why)) => Err(error.context(why)),
            _ => Err(error),
        }
    };
    tokio::time::timeout(THROUGH_SERVER, answer)
        .await
        .with_context(|| format!("no answer within {THROUGH_SERVER:?}"))?
}

async fn exchange(stream: impl AsyncRead + AsyncWrite + Unpin, ask: &Ask<'_>) -> Result<String> {
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    let mut request = http::Request::builder()
        .method(ask.method)
        .uri(ask.path)
        .header("host", "localhost");
    if let Some(token) = ask.token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(Empty::<bytes::Bytes>::new())?;
    let answer = async {
        let response = sender.send_request(request).await?;
        let status = response.status();
        let body = Limited::new(response.into_body(), LARGEST_ANSWER)
            .collect()
            .await
            .map_err(|e| anyhow::anyhow!(e))?
            .to_bytes();
        let text = String::from_utf8_lossy(&body).into_owned();
        if status.is_client_error() || status.is_server_error() {
            bail!("{status}: {}", text.trim());
        }
        Ok(text)
    };
    // The connection is driven here, beside the request, and ends with it: a server that keeps it
    // open is not waited for.
    match select(pin!(answer), pin!(connection)).await {
        Either::Left((answer, _)) => answer,
        Either::Right((_, answer)) => answer.await,
    }
}
