//! TCP echo server and its client: what a plain TCP app sees of a connection.
//! In: connections. Out: a greeting line of JSON with both addresses as the server sees them, then
//! everything received, sent back. The client checks every byte and counts what broke.
//! Owns: its connections, nothing else.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Context as _;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior};

use crate::proxied;

/// Arguments of `bookinfo tcp-serve`.
#[derive(clap::Args)]
pub(crate) struct ServeArgs {
    /// Address to listen on
    #[arg(long, env = "LISTEN", default_value = "0.0.0.0:9000")]
    listen: SocketAddr,
    /// Name in the greeting
    #[arg(long, env = "HOSTNAME", default_value = "unknown")]
    pod: String,
    /// Connections begin with a PROXY protocol header: the greeting says what that says
    #[arg(long)]
    proxy_protocol: bool,
}

/// Arguments of `bookinfo tcp`.
#[derive(clap::Args, Clone)]
pub(crate) struct ClientArgs {
    /// `host:port`
    target: String,
    /// Connections in all, all at once
    #[arg(short = 'n', long, default_value_t = 1)]
    connections: usize,
    /// Bytes echoed per connection
    #[arg(long, default_value_t = 64)]
    bytes: usize,
    /// Send a small message over each connection every so many milliseconds until SIGTERM
    #[arg(long)]
    hold_ms: Option<u64>,
    /// Begin another connection every so many milliseconds until SIGTERM, instead of some at once
    #[arg(long, conflicts_with_all = ["connections", "hold_ms"])]
    every_ms: Option<u64>,
    /// Milliseconds to connect and be greeted
    #[arg(long, default_value_t = 10_000)]
    timeout_ms: u64,
}

/// The server's first line.
#[derive(Clone, Serialize, Deserialize)]
struct Greeting {
    pod: String,
    peer: SocketAddr,
    local: SocketAddr,
    /// Who the client is proved to be, by a proxy
    #[serde(default, skip_serializing_if = "Option::is_none")]
    identity: Option<String>,
    /// Host name of the service, by a proxy
    #[serde(default, skip_serializing_if = "Option::is_none")]
    service: Option<String>,
}

/// The client's last line.
#[derive(Default, Serialize)]
struct Summary {
    connected: usize,
    completed: usize,
    errors: BTreeMap<String, usize>,
    /// Greetings by server pod
    pods: BTreeMap<String, usize>,
    /// The server's address, as it sees it
    locals: BTreeMap<SocketAddr, usize>,
    /// The client's address, as the server sees it
    peers: BTreeMap<std::net::IpAddr, usize>,
    /// Who the client is, as a proxy told the server
    identities: BTreeMap<String, usize>,
    /// The service, as a proxy told the server
    services: BTreeMap<String, usize>,
    /// Messages echoed on held connections
    messages: u64,
}

/// Serves until a signal.
pub(crate) async fn serve(args: ServeArgs) -> anyhow::Result<()> {
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    let mut term = signal(SignalKind::terminate())?;
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let (pod, proxied) = (args.pod.clone(), args.proxy_protocol);
                    connections.spawn(async move {
                        // A peer that resets is part of the job.
                        let _ = echo(stream, (peer, proxied), pod).await;
                    });
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            },
            _ = connections.join_next(), if !connections.is_empty() => {}
            _ = term.recv() => return Ok(()),
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
    }
}

async fn echo(
    mut stream: TcpStream,
    (peer, proxied): (SocketAddr, bool),
    pod: String,
) -> anyhow::Result<()> {
    stream.set_nodelay(true)?;
    let mut greeting = Greeting {
        pod,
        peer,
        local: stream.local_addr()?,
        identity: None,
        service: None,
    };
    if proxied {
        let told = proxied::read(&mut stream).await?;
        (greeting.peer, greeting.local) = (told.peer, told.local);
        (greeting.identity, greeting.service) = (told.identity, told.service);
    }
    let mut line = serde_json::to_vec(&greeting)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    let (mut from, mut to) = stream.split();
    tokio::io::copy(&mut from, &mut to).await?;
    to.shutdown().await?;
    Ok(())
}

/// Connects, checks the echo and prints the summary. Exit code 0 if nothing broke.
pub(crate) async fn run(args: ClientArgs) -> anyhow::Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    let mut tasks = JoinSet::new();
    let mut more = args.every_ms.map(|every| {
        let mut ticks = tokio::time::interval(Duration::from_millis(every.max(1)));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        ticks
    });
    if more.is_none() {
        for _ in 0..args.connections {
            tasks.spawn(one(args.clone(), signal(SignalKind::terminate())?));
        }
    }
    let mut summary = Summary::default();
    loop {
        let end = tokio::select! {
            end = tasks.join_next(), if more.is_none() || !tasks.is_empty() => end,
            // The connections have the signal too and end by themselves.
            _ = term.recv() => {
                more = None;
                continue;
            }
            () = tick(more.as_mut()) => {
                tasks.spawn(one(args.clone(), signal(SignalKind::terminate())?));
                continue;
            }
        };
        let Some(end) = end else { break };
        let end = end.context("connection task failed")?;
        if let Some(greeting) = end.greeting {
            summary.connected += 1;
            *summary.pods.entry(greeting.pod).or_default() += 1;
            *summary.locals.entry(greeting.local).or_default() += 1;
            *summary.peers.entry(greeting.peer.ip()).or_default() += 1;
            if let Some(identity) = greeting.identity {
                *summary.identities.entry(identity).or_default() += 1;
            }
            if let Some(service) = greeting.service {
                *summary.services.entry(service).or_default() += 1;
            }
        }
        summary.messages += end.messages;
        match end.error {
            None => summary.completed += 1,
            Some(error) => *summary.errors.entry(error).or_default() += 1,
        }
    }
    print(&summary)?;
    anyhow::ensure!(
        summary.errors.is_empty(),
        "broken connections: {:?}",
        summary.errors
    );
    Ok(())
}

/// The next moment to begin a connection; never, when there is none.
async fn tick(ticks: Option<&mut Interval>) {
    match ticks {
        Some(ticks) => drop(ticks.tick().await),
        None => std::future::pending().await,
    }
}

#[expect(
    clippy::print_stdout,
    reason = "the summary is what the command is for"
)]
fn print(summary: &Summary) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(summary)?);
    Ok(())
}

/// How one connection went.
#[derive(Default)]
struct End {
    greeting: Option<Greeting>,
    messages: u64,
    error: Option<String>,
}

async fn one(args: ClientArgs, mut term: Signal) -> End {
    let mut end = End::default();
    let limit = Duration::from_millis(args.timeout_ms);
    let mut stream = match tokio::time::timeout(limit, greet(&args.target)).await {
        Ok(Ok((stream, greeting))) => {
            end.greeting = Some(greeting);
            stream
        }
        Ok(Err(error)) => {
            end.error = Some(format!("{error:#}"));
            return end;
        }
        Err(_) => {
            end.error = Some("timeout before the greeting".to_owned());
            return end;
        }
    };
    let talk = async {
        round_trip(&mut stream, args.bytes, limit).await?;
        if let Some(every) = args.hold_ms {
            hold(
                &mut stream,
                Duration::from_millis(every),
                &mut term,
                &mut end.messages,
            )
            .await?;
        }
        finish(&mut stream, limit).await
    };
    end.error = talk.await.err().map(|error| format!("{error:#}"));
    end
}

async fn greet(target: &str) -> anyhow::Result<(BufReader<TcpStream>, Greeting)> {
    let stream = TcpStream::connect(target).await.context("connect")?;
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let mut line = String::new();
    let n = stream.read_line(&mut line).await.context("greeting")?;
    anyhow::ensure!(n > 0, "closed before the greeting");
    Ok((stream, serde_json::from_str(&line).context("greeting")?))
}

async fn round_trip(
    stream: &mut BufReader<TcpStream>,
    bytes: usize,
    limit: Duration,
) -> anyhow::Result<()> {
    let sent: Vec<u8> = (0..bytes).map(|i| (i % 251) as u8).collect();
    let (mut from, mut to) = tokio::io::split(stream);
    let mut received = vec![0; bytes];
    let both = async {
        tokio::try_join!(async { to.write_all(&sent).await }, async {
            from.read_exact(&mut received).await
        },)
    };
    tokio::time::timeout(limit, both)
        .await
        .context("timeout in the echo")?
        .context("echo")?;
    anyhow::ensure!(sent == received, "other bytes came back");
    Ok(())
}

async fn hold(
    stream: &mut BufReader<TcpStream>,
    every: Duration,
    term: &mut Signal,
    messages: &mut u64,
) -> anyhow::Result<()> {
    loop {
        tokio::select! {
            _ = term.recv() => return Ok(()),
            () = tokio::time::sleep(every) => {}
        }
        round_trip(stream, 64, Duration::from_secs(10))
            .await
            .context("held connection")?;
        *messages += 1;
    }
}

async fn finish(stream: &mut BufReader<TcpStream>, limit: Duration) -> anyhow::Result<()> {
    stream.get_mut().shutdown().await.context("half-close")?;
    let mut rest = Vec::new();
    let read = tokio::time::timeout(limit, stream.read_to_end(&mut rest));
    read.await
        .context("timeout after half-close")?
        .context("end")?;
    anyhow::ensure!(rest.is_empty(), "{} bytes after the end", rest.len());
    Ok(())
}
