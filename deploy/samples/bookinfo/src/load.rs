//! HTTP client that keeps a rate: the next request leaves when it is due, however late answers are.
//! In: URL, rate, whether connections are kept. Out: one line of JSON for each second with what ended in
//! it: statuses, errors, the slowest answer. Until SIGTERM or SIGINT.
//! A request that was never sent, because its kept connection had just been closed, goes on another one,
//! as in any client with a pool; it is counted. One that may have been sent is repeated only if that is
//! asked for, as browsers do it (RFC 9112 section 9.3.1: a server may close when a request is on its way).
//! Owns: its idle connections, at most [`KEPT`]; requests under way, at most [`UNDER_WAY`].

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use bytes::Bytes;
use http::{HeaderValue, Request, Uri};
use http_body_util::{BodyExt as _, Full};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::connection::Connection;

/// Idle connections kept.
const KEPT: usize = 64;
/// How long they are kept; servers give them up later than that.
const IDLE: Duration = Duration::from_secs(10);
/// Requests under way; beyond, one that is due fails as `too many under way`.
const UNDER_WAY: usize = 4096;
/// Time between lines.
const LINE: Duration = Duration::from_secs(1);

/// Arguments of `bookinfo load`.
#[derive(clap::Args, Clone)]
pub(crate) struct Args {
    /// `http://host[:port]/path`
    url: Uri,
    /// Requests each second
    #[arg(short, long, default_value_t = 100)]
    rate: u32,
    /// Keep connections between requests; else each request has its own
    #[arg(short = 'k', long)]
    keep_alive: bool,
    /// Repeat a request on another connection, once, if a kept one ends without any of the answer
    #[arg(long, requires = "keep_alive")]
    again: bool,
    /// Milliseconds for one request, connection included
    #[arg(long, default_value_t = 10_000)]
    timeout_ms: u64,
    /// Look the host up once instead of for every connection
    #[arg(long)]
    resolve_once: bool,
}

/// What ended in one second: a line.
#[derive(Debug, Default, PartialEq, Serialize)]
struct Line {
    /// Milliseconds since 1970 at its end
    at: u128,
    /// Requests that fell due
    due: u64,
    /// Answers by status code
    statuses: BTreeMap<u16, u64>,
    /// Requests without a complete answer, by reason
    errors: BTreeMap<String, u64>,
    /// Connections made
    connections: u64,
    /// Requests that a closed connection had not taken, or not answered, sent on another
    moved: u64,
    /// Slowest answer, in milliseconds from the moment it fell due
    slowest_ms: u64,
}

/// Sends at the rate until it is told to stop.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    anyhow::ensure!(args.rate > 0, "a rate of nothing");
    let load = Arc::new(Load::of(&args).await?);
    let mut due = tokio::time::interval(Duration::from_secs(1) / args.rate);
    // What fell due while this program was not run is sent at once.
    due.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut lines = tokio::time::interval(LINE);
    let mut under_way = JoinSet::new();
    let mut term = signal(SignalKind::terminate())?;
    loop {
        tokio::select! {
            biased;
            _ = term.recv() => break,
            _ = tokio::signal::ctrl_c() => break,
            _ = lines.tick() => load.print()?,
            tick = due.tick() => {
                load.line(|line| line.due += 1);
                if under_way.len() < UNDER_WAY {
                    under_way.spawn(load.clone().one(tick.into_std()));
                } else {
                    load.line(|line| line.error("too many under way"));
                }
            }
            Some(_) = under_way.join_next() => {}
        }
    }
    while under_way.join_next().await.is_some() {}
    load.print()
}

struct Load {
    host: String,
    port: u16,
    path: Uri,
    authority: HeaderValue,
    keep_alive: bool,
    again: bool,
    limit: Duration,
    idle: Mutex<Vec<(Connection, Instant)>>,
    line: Mutex<Line>,
}

impl Load {
    async fn of(args: &Args) -> anyhow::Result<Self> {
        anyhow::ensure!(
            args.url.scheme_str() == Some("http"),
            "{}: only http:// is known",
            args.url
        );
        let authority = args.url.authority().context("the URL has no host")?;
        let port = authority.port_u16().unwrap_or(80);
        let mut host = authority.host().trim_matches(['[', ']']).to_owned();
        if args.resolve_once {
            host = resolve(&host, port).await?.to_string();
        }
        let path = args.url.path_and_query().map_or("/", |p| p.as_str());
        Ok(Self {
            host,
            port,
            path: path.parse()?,
            authority: HeaderValue::from_str(authority.as_str())?,
            keep_alive: args.keep_alive,
            again: args.again,
            limit: Duration::from_millis(args.timeout_ms),
            idle: Mutex::default(),
            line: Mutex::default(),
        })
    }

    async fn one(self: Arc<Self>, due: Instant) {
        let ended = tokio::time::timeout(self.limit, self.exchange()).await;
        let took = u64::try_from(due.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.line(|line| {
            match ended {
                Ok(Ok(status)) => *line.statuses.entry(status).or_default() += 1,
                Ok(Err(error)) => line.error(&format!("{error:#}")),
                Err(_) => line.error("timeout"),
            }
            line.slowest_ms = line.slowest_ms.max(took);
        });
    }

    /// The status of a complete answer.
    async fn exchange(&self) -> anyhow::Result<u16> {
        let (mut request, mut again) = (self.request(), self.again);
        loop {
            let kept = self.kept();
            let fresh = kept.is_none();
            let mut connection = match kept {
                Some(connection) => connection,
                None => self.connect().await?,
            };
            let answer = match connection.sender.try_send_request(request).await {
                Ok(answer) => answer,
                Err(mut failed) => match failed.take_message() {
                    Some(unsent) if !fresh => {
                        self.line(|line| line.moved += 1);
                        request = unsent;
                        continue;
                    }
                    None if !fresh && again && failed.error().is_incomplete_message() => {
                        self.line(|line| line.moved += 1);
                        (request, again) = (self.request(), false);
                        continue;
                    }
                    _ => return Err(failed.into_error()).context("request"),
                },
            };
            let (head, mut body) = answer.into_parts();
            while let Some(frame) = body.frame().await {
                frame.context("body")?;
            }
            if self.keep_alive && connection.sender.ready().await.is_ok() {
                let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
                if idle.len() < KEPT {
                    idle.push((connection, Instant::now()));
                }
            }
            return Ok(head.status.as_u16());
        }
    }

    fn kept(&self) -> Option<Connection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(one, since)| !one.sender.is_closed() && since.elapsed() < IDLE);
        idle.pop().map(|(one, _)| one)
    }

    async fn connect(&self) -> anyhow::Result<Connection> {
        let connection = Connection::open(&self.host, self.port).await?;
        self.line(|line| line.connections += 1);
        Ok(connection)
    }

    fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::default());
        *request.uri_mut() = self.path.clone();
        let headers = request.headers_mut();
        headers.insert(http::header::HOST, self.authority.clone());
        if !self.keep_alive {
            headers.insert(http::header::CONNECTION, HeaderValue::from_static("close"));
        }
        request
    }

    fn line(&self, change: impl FnOnce(&mut Line)) {
        change(&mut self.line.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Prints the line and begins the next.
    #[expect(clippy::print_stdout, reason = "lines are what the command is for")]
    fn print(&self) -> anyhow::Result<()> {
        let mut line = Line::default();
        self.line(|current| std::mem::swap(current, &mut line));
        line.at = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)?
            .as_millis();
        println!("{}", serde_json::to_string(&line)?);
        Ok(())
    }
}

impl Line {
    fn error(&mut self, reason: &str) {
        *self.errors.entry(reason.to_owned()).or_default() += 1;
    }
}

async fn resolve(host: &str, port: u16) -> anyhow::Result<IpAddr> {
    let mut found = tokio::net::lookup_host((host, port)).await?;
    let first = found
        .next()
        .with_context(|| format!("{host} has no address"))?;
    Ok(first.ip())
}

#[cfg(test)]
mod tests {
    use super::Load;
    use std::io::{Read as _, Write as _};
    use std::sync::Arc;
    use std::time::Instant;

    /// Reads a second request on the first connection, answers only the first, and closes.
    fn ending_server() -> (std::net::SocketAddr, std::thread::JoinHandle<()>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let mut head = [0; 1024];
            for more in [true, false] {
                let (mut stream, _) = listener.accept().unwrap();
                let _ = stream.read(&mut head).unwrap();
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                    .unwrap();
                if more {
                    let _ = stream.read(&mut head).unwrap();
                }
            }
        });
        (address, server)
    }

    #[tokio::test]
    async fn what_a_kept_connection_does_not_answer_is_repeated_only_when_asked_for() {
        let options = ["--keep-alive", "--again"];
        for (given, failed) in [(&options[..1], 1), (&options[..], 0)] {
            let (address, server) = ending_server();
            let load = Arc::new(Load::of(&args(address, given)).await.unwrap());
            for _ in 0..2 + failed {
                load.clone().one(Instant::now()).await;
            }
            let line = load.line.lock().unwrap();
            assert_eq!(line.statuses.get(&200), Some(&2), "{line:?}");
            assert_eq!(line.errors.values().sum::<u64>(), failed, "{line:?}");
            assert_eq!(line.moved, 1 - failed, "{line:?}");
            server.join().unwrap();
        }
    }

    fn args(address: std::net::SocketAddr, more: &[&str]) -> super::Args {
        use clap::Parser as _;
        #[derive(clap::Parser)]
        struct Command {
            #[command(flatten)]
            args: super::Args,
        }
        let url = format!("http://{address}/x");
        let words = ["load", url.as_str()].into_iter();
        Command::parse_from(words.chain(more.iter().copied())).args
    }

    /// Answers one request, then closes without saying so.
    fn closing_server() -> (std::net::SocketAddr, std::thread::JoinHandle<()>) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            for _ in 0..2 {
                let (mut stream, _) = listener.accept().unwrap();
                let mut head = [0; 1024];
                let _ = stream.read(&mut head).unwrap();
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
                    .unwrap();
            }
        });
        (address, server)
    }

    #[tokio::test]
    async fn a_connection_that_was_closed_is_left_for_another() {
        let (address, server) = closing_server();
        let load = Arc::new(Load::of(&args(address, &["--keep-alive"])).await.unwrap());
        load.clone().one(Instant::now()).await;
        // The end of the first connection arrives before it is taken.
        while load
            .idle
            .lock()
            .unwrap()
            .iter()
            .any(|(c, _)| !c.sender.is_closed())
        {
            tokio::task::yield_now().await;
        }
        load.clone().one(Instant::now()).await;
        let line = load.line.lock().unwrap();
        assert_eq!(line.statuses.get(&200), Some(&2), "{line:?}");
        assert_eq!((line.connections, line.errors.len()), (2, 0), "{line:?}");
        server.join().unwrap();
    }

    #[tokio::test]
    async fn a_failure_is_counted_by_its_reason() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let load = Arc::new(Load::of(&args(address, &[])).await.unwrap());
        load.clone().one(Instant::now()).await;
        let line = load.line.lock().unwrap();
        assert!(line.statuses.is_empty());
        assert_eq!(line.errors.values().sum::<u64>(), 1);
        assert!(
            line.errors
                .keys()
                .all(|reason| reason.starts_with("connect"))
        );
    }
}
