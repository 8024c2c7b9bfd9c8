//! A call from one service to the next.
//! In: the request being served and the next service. Out: the answer, or why there is none.
//! Owns: one connection per call, closed after it, as the sample's services do: routing and enrolment
//! are then visible from the next request on.
//! Spec: the header list of the sample's productpage and reviews.

use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Largest answer read.
const LIMIT: usize = 1 << 20;

/// Headers that belong to the caller's trace or session and travel with every call it causes.
const FORWARDED: [&str; 22] = [
    "x-request-id",
    "x-ot-span-context",
    "x-datadog-trace-id",
    "x-datadog-parent-id",
    "x-datadog-sampling-priority",
    "traceparent",
    "tracestate",
    "x-cloud-trace-context",
    "grpc-trace-bin",
    "b3",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
    "sw8",
    "end-user",
    "user-agent",
    "cookie",
    "authorization",
    "jwt",
    "baggage",
];

/// The next service: host name and port.
#[derive(Clone)]
pub(crate) struct Target {
    /// Host name, short or full
    pub(crate) host: String,
    /// Port
    pub(crate) port: u16,
    /// How long one call may take
    pub(crate) patience: Duration,
}

/// The headers of `inbound` that go on.
pub(crate) fn forwarded(inbound: &HeaderMap) -> HeaderMap {
    let mut out = HeaderMap::new();
    for name in FORWARDED {
        for value in inbound.get_all(name) {
            out.append(name, value.clone());
        }
    }
    out
}

/// GETs `path` from `target`, passing on the caller's headers.
///
/// # Errors
/// Resolution, connection, protocol and time-out failures, each with the target's name.
pub(crate) async fn fetch(
    target: &Target,
    path: &str,
    inbound: &HeaderMap,
) -> anyhow::Result<Response<Bytes>> {
    let patience = target.patience;
    tokio::time::timeout(patience, call(target, path, inbound))
        .await
        .with_context(|| {
            format!(
                "no answer from {}:{} in {patience:?}",
                target.host, target.port
            )
        })?
        .with_context(|| format!("call to {}:{}", target.host, target.port))
}

async fn call(target: &Target, path: &str, inbound: &HeaderMap) -> anyhow::Result<Response<Bytes>> {
    let stream = TcpStream::connect((target.host.as_str(), target.port))
        .await
        .context("connect")?;
    stream.set_nodelay(true)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .context("handshake")?;
    let mut request = Request::get(path).body(Full::<Bytes>::default())?;
    *request.headers_mut() = forwarded(inbound);
    request.headers_mut().insert(
        http::header::HOST,
        format!("{}:{}", target.host, target.port).parse()?,
    );
    let exchange = async {
        let (head, body) = sender
            .send_request(request)
            .await
            .context("request")?
            .into_parts();
        let body = Limited::new(body, LIMIT)
            .collect()
            .await
            .map_err(|error| anyhow::anyhow!("body: {error}"))?;
        Ok::<_, anyhow::Error>(Response::from_parts(head, body.to_bytes()))
    };
    tokio::pin!(exchange);
    tokio::pin!(connection);
    tokio::select! {
        answer = &mut exchange => answer,
        ended = &mut connection => match ended {
            // The peer may close right after a complete answer.
            Ok(()) => exchange.await,
            Err(error) => Err(error).context("connection"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::forwarded;

    #[test]
    fn only_trace_and_session_headers_travel_on() {
        let mut inbound = http::HeaderMap::new();
        for (name, value) in [
            ("end-user", "jason"),
            ("x-request-id", "1"),
            ("host", "a"),
            ("accept", "*"),
        ] {
            inbound.insert(name, value.parse().unwrap());
        }
        let out = forwarded(&inbound);
        assert_eq!(out.len(), 2);
        assert_eq!(out["end-user"], "jason");
        assert_eq!(out["x-request-id"], "1");
    }
}
