//! A client of unary calls: some, over one connection.
//! In: URL of the method, how many. Out: one line of JSON with what came back: statuses of trailers, versions that
//! answered, whether messages came back as they were sent.
//! Owns: its connection.

use super::{CONTENT_TYPE, ENCODING, STATUS, framed};
use crate::server::VERSION_HEADER;
use anyhow::Context as _;
use bytes::Bytes;
use http::header::{CONTENT_TYPE as TYPE, TE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// What is sent.
const MESSAGE: &[u8] = b"the comedy of errors";
/// The same as gzip makes it.
const GZIPPED: [u8; 40] = [
    0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0x2b, 0xc9, 0x48, 0x55, 0x48, 0xce,
    0xcf, 0x4d, 0x4d, 0xa9, 0x54, 0xc8, 0x4f, 0x53, 0x48, 0x2d, 0x2a, 0xca, 0x2f, 0x2a, 0x06, 0x00,
    0x96, 0x0a, 0x97, 0xd9, 0x14, 0x00, 0x00, 0x00,
];

/// Arguments of `bookinfo grpc`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// `http://host:port/package.Service/Method`
    url: Uri,
    /// Header, `name: value`; may be repeated
    #[arg(short = 'H', long = "header")]
    headers: Vec<String>,
    /// Calls in all, one after the other
    #[arg(short = 'n', long, default_value_t = 1)]
    calls: u64,
    /// Send messages compressed by gzip
    #[arg(long)]
    gzip: bool,
    /// Milliseconds for one call
    #[arg(long, default_value_t = 10_000)]
    timeout_ms: u64,
}

/// The line of JSON printed at the end.
#[derive(Default, Serialize)]
struct Summary {
    /// Calls begun
    calls: u64,
    /// Calls by `grpc-status` in trailers behind a message
    trailers: BTreeMap<String, u64>,
    /// Calls by `grpc-status` in the head: without a message
    heads: BTreeMap<String, u64>,
    /// Messages that came back as they were sent
    whole: u64,
    /// Versions that answered
    versions: BTreeMap<String, u64>,
    /// Calls without a status, by reason
    errors: BTreeMap<String, u64>,
}

/// Calls and prints the summary. Exit code 0 if every call had a status.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let host = args.url.host().context("the URL has no host")?;
    let port = args.url.port_u16().unwrap_or(80);
    let stream = TcpStream::connect((host.trim_matches(['[', ']']), port));
    let io = TokioIo::new(stream.await.context("connect")?);
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), io)
        .await
        .context("handshake")?;
    let mut driver = JoinSet::new();
    driver.spawn(async move {
        // Its error reaches the call that was on the connection.
        let _ = connection.await;
    });
    let headers = headers(&args)?;
    let message = match args.gzip {
        true => framed(&GZIPPED, true),
        false => framed(MESSAGE, false),
    };
    let mut summary = Summary::default();
    for _ in 0..args.calls {
        let mut request = Request::new(Full::new(message.clone()));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = args.url.clone();
        *request.headers_mut() = headers.clone();
        let called = async {
            let response = sender.send_request(request).await?;
            summary.read(response, &message).await
        };
        let limit = Duration::from_millis(args.timeout_ms);
        let ended = tokio::time::timeout(limit, called).await;
        let ended = ended.map_err(|_| "timeout".to_owned());
        let ended = ended.and_then(|ended| ended.map_err(|error| format!("{error:#}")));
        summary.calls += 1;
        if let Err(error) = ended {
            *summary.errors.entry(error).or_default() += 1;
        }
    }
    print(&summary)?;
    anyhow::ensure!(summary.errors.is_empty(), "calls without a status");
    Ok(())
}

fn headers(args: &Args) -> anyhow::Result<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert(TYPE, HeaderValue::from_static(CONTENT_TYPE));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    if args.gzip {
        headers.insert(ENCODING, HeaderValue::from_static("gzip"));
    }
    for header in &args.headers {
        let (name, value) = header
            .split_once(':')
            .with_context(|| format!("no colon in {header:?}"))?;
        headers.insert(
            HeaderName::from_bytes(name.trim().as_bytes())?,
            HeaderValue::from_str(value.trim())?,
        );
    }
    Ok(headers)
}

impl Summary {
    async fn read(&mut self, response: Response<Incoming>, sent: &Bytes) -> anyhow::Result<()> {
        let (head, body) = response.into_parts();
        anyhow::ensure!(head.status == 200, "HTTP status {}", head.status);
        if let Some(version) = text(&head.headers, &HeaderName::from_static(VERSION_HEADER)) {
            *self.versions.entry(version).or_default() += 1;
        }
        let body = body.collect().await?;
        let trailers = body.trailers().cloned();
        let same_encoding = head.headers.contains_key(ENCODING) == (sent.first() == Some(&1));
        if body.to_bytes() == *sent && same_encoding {
            self.whole += 1;
        }
        let behind = trailers
            .as_ref()
            .and_then(|trailers| text(trailers, &STATUS));
        match (behind, text(&head.headers, &STATUS)) {
            (Some(status), _) => *self.trailers.entry(status).or_default() += 1,
            (None, Some(status)) => *self.heads.entry(status).or_default() += 1,
            (None, None) => anyhow::bail!("no grpc-status"),
        }
        Ok(())
    }
}

fn text(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let value = headers.get(name)?.to_str().ok()?;
    Some(value.to_owned())
}

#[expect(
    clippy::print_stdout,
    reason = "the summary is what the command is for"
)]
fn print(summary: &Summary) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(summary)?);
    Ok(())
}
