//! HTTP client for use inside pods: one request or a load.
//! In: method, URL, headers, how many, how many at once. Out: one line of JSON with what came back:
//! statuses, errors, values of counted headers, connections made, and the body if there was one request.
//! Owns: one connection per worker with `--keep-alive`, else one per request.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt as _, Full};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::connection::Connection;

/// Largest body shown.
const SHOWN: usize = 256 << 10;

/// Arguments of `bookinfo client`.
#[derive(clap::Args, Clone)]
pub(crate) struct Args {
    /// `http://host[:port]/path`
    url: Uri,
    /// Method
    #[arg(short = 'X', long, default_value = "GET")]
    method: Method,
    /// Header, `name: value`; may be repeated
    #[arg(short = 'H', long = "header")]
    headers: Vec<String>,
    /// Requests in all
    #[arg(
        short = 'n',
        long,
        default_value_t = 1,
        conflicts_with = "until_signal"
    )]
    requests: u64,
    /// Go on until SIGTERM or SIGINT, then print
    #[arg(long)]
    until_signal: bool,
    /// Requests at once
    #[arg(short = 'c', long, default_value_t = 1)]
    concurrency: usize,
    /// Keep connections between requests
    #[arg(short = 'k', long)]
    keep_alive: bool,
    /// Body of this many bytes
    #[arg(long, default_value_t = 0)]
    body_bytes: usize,
    /// Body text
    #[arg(long, conflicts_with = "body_bytes")]
    body: Option<String>,
    /// Count the values of this answer header; may be repeated
    #[arg(long)]
    count_header: Vec<HeaderName>,
    /// Milliseconds for one request, connection included
    #[arg(long, default_value_t = 10_000)]
    timeout_ms: u64,
    /// Milliseconds each worker waits between requests
    #[arg(long, default_value_t = 0)]
    interval_ms: u64,
}

/// What came back. The line of JSON printed at the end.
#[derive(Default, Serialize)]
struct Summary {
    /// Requests started
    requests: u64,
    /// Answers by status code
    statuses: BTreeMap<u16, u64>,
    /// Requests without a complete answer, by reason
    errors: BTreeMap<String, u64>,
    /// Values of the counted headers
    headers: BTreeMap<String, BTreeMap<String, u64>>,
    /// Connections made
    connections: u64,
    /// Bytes of all answer bodies
    body_bytes: u64,
    /// Body of the last answer if only one was asked for
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<String>,
}

impl Summary {
    fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.connections += other.connections;
        self.body_bytes += other.body_bytes;
        self.body = other.body.or(self.body.take());
        for (status, n) in other.statuses {
            *self.statuses.entry(status).or_default() += n;
        }
        for (error, n) in other.errors {
            *self.errors.entry(error).or_default() += n;
        }
        for (name, values) in other.headers {
            let into = self.headers.entry(name).or_default();
            for (value, n) in values {
                *into.entry(value).or_default() += n;
            }
        }
    }
}

/// Runs the load and prints the summary. Exit code 0 if every request had an answer.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    let shared = Arc::new(Shared::of(args)?);
    let (stop, stopped) = watch::channel(false);
    let mut workers = JoinSet::new();
    for _ in 0..shared.args.concurrency.max(1) {
        workers.spawn(worker(shared.clone(), stopped.clone()));
    }
    let mut term = signal(SignalKind::terminate())?;
    let mut summary = Summary::default();
    loop {
        tokio::select! {
            done = workers.join_next() => match done {
                Some(part) => summary.add(part.context("worker failed")?),
                None => break,
            },
            _ = term.recv() => { let _ = stop.send(true); }
            _ = tokio::signal::ctrl_c() => { let _ = stop.send(true); }
        }
    }
    print(&summary)?;
    anyhow::ensure!(
        summary.errors.is_empty(),
        "requests without an answer: {:?}",
        summary.errors
    );
    Ok(())
}

#[expect(
    clippy::print_stdout,
    reason = "the summary is what the command is for"
)]
fn print(summary: &Summary) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(summary)?);
    Ok(())
}

/// What every worker reads.
struct Shared {
    args: Args,
    host: String,
    port: u16,
    headers: HeaderMap,
    body: Bytes,
    left: AtomicU64,
}

impl Shared {
    fn of(args: Args) -> anyhow::Result<Self> {
        anyhow::ensure!(
            args.url.scheme_str() == Some("http"),
            "{}: only http:// is known",
            args.url
        );
        let authority = args.url.authority().context("the URL has no host")?;
        let mut headers = HeaderMap::new();
        headers.insert(
            http::header::HOST,
            HeaderValue::from_str(authority.as_str())?,
        );
        headers.insert(
            http::header::USER_AGENT,
            HeaderValue::from_static("bookinfo-client"),
        );
        for header in &args.headers {
            let (name, value) = header
                .split_once(':')
                .with_context(|| format!("no colon in {header:?}"))?;
            headers.insert(
                HeaderName::try_from(name.trim())?,
                HeaderValue::from_str(value.trim())?,
            );
        }
        if !args.keep_alive {
            headers.insert(http::header::CONNECTION, HeaderValue::from_static("close"));
        }
        let body = match &args.body {
            Some(text) => Bytes::from(text.clone()),
            None => Bytes::from(vec![b'x'; args.body_bytes]),
        };
        Ok(Self {
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port: authority.port_u16().unwrap_or(80),
            left: AtomicU64::new(if args.until_signal {
                u64::MAX
            } else {
                args.requests
            }),
            headers,
            body,
            args,
        })
    }

    fn take(&self) -> bool {
        self.left
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1))
            .is_ok()
    }

    fn request(&self) -> Request<Full<Bytes>> {
        let path = self.args.url.path_and_query().map_or("/", |p| p.as_str());
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.args.method.clone();
        *request.uri_mut() = path.parse().unwrap_or_default();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

async fn worker(shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) -> Summary {
    let mut summary = Summary::default();
    let mut kept = None;
    let limit = Duration::from_millis(shared.args.timeout_ms);
    while !*stopped.borrow() && shared.take() {
        summary.requests += 1;
        let exchange = exchange(&shared, &mut kept, &mut summary);
        let failed = match tokio::time::timeout(limit, exchange).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(format!("{error:#}")),
            Err(_) => Some("timeout".to_owned()),
        };
        if let Some(error) = failed {
            *summary.errors.entry(error).or_default() += 1;
            kept = None;
        }
        if shared.args.interval_ms > 0 {
            let pause = Duration::from_millis(shared.args.interval_ms);
            let _ = tokio::time::timeout(pause, stopped.changed()).await;
        }
    }
    summary
}

async fn exchange(
    shared: &Shared,
    kept: &mut Option<Connection>,
    summary: &mut Summary,
) -> anyhow::Result<()> {
    let mut connection = match kept.take() {
        Some(connection) if !connection.sender.is_closed() => connection,
        _ => {
            let connection = Connection::open(&shared.host, shared.port).await?;
            summary.connections += 1;
            connection
        }
    };
    connection.sender.ready().await.context("connection")?;
    let answer = connection
        .sender
        .send_request(shared.request())
        .await
        .context("request")?;
    let (head, mut body) = answer.into_parts();
    let mut shown = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.context("body")?;
        let data = frame.data_ref().map_or(&[][..], |d| &d[..]);
        summary.body_bytes += data.len() as u64;
        if shared.args.requests == 1 && shown.len() + data.len() <= SHOWN {
            shown.extend_from_slice(data);
        }
    }
    *summary.statuses.entry(head.status.as_u16()).or_default() += 1;
    for name in &shared.args.count_header {
        let value = head
            .headers
            .get(name)
            .map_or("", |v| v.to_str().unwrap_or("?"));
        *summary
            .headers
            .entry(name.as_str().to_owned())
            .or_default()
            .entry(value.to_owned())
            .or_default() += 1;
    }
    if shared.args.requests == 1 && !shared.args.until_signal {
        summary.body = Some(String::from_utf8_lossy(&shown).into_owned());
    }
    if shared.args.keep_alive {
        *kept = Some(connection);
    }
    Ok(())
}
