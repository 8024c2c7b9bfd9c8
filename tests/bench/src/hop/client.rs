//! The application's side of the hop.
//! In: where to connect, how long. Out: one line of JSON, how often and how long it took.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use serde::{Deserialize, Serialize};

/// Threads that connect at the same time.
const CONNECTING: usize = 4;
/// Bytes of a round trip.
pub(crate) const MESSAGE: usize = 64;
/// Longest wait for the listener.
const PATIENCE: Duration = Duration::from_secs(10);

/// Options of the client.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where to connect
    #[arg(long)]
    to: SocketAddr,
    /// How long
    #[arg(long)]
    seconds: f64,
    /// What to do
    #[arg(value_enum)]
    kind: Kind,
}

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// Connections, closed by the listener
    Connect,
    /// Messages there and back on one connection
    RoundTrip,
}

impl Kind {
    /// As the command line has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::RoundTrip => "round-trip",
        }
    }
}

/// What the client did.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Said {
    /// Connections or round trips
    pub(crate) count: u64,
    /// Wall-clock time
    pub(crate) seconds: f64,
}

impl Said {
    /// How many per second.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    pub(crate) fn rate(self) -> f64 {
        self.count as f64 / self.seconds
    }
}

/// Dials until the time is over.
///
/// # Errors
/// Any connection's.
#[expect(clippy::print_stdout, reason = "the summary is this program's output")]
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    super::pin()?;
    let start = Instant::now();
    let until = start + Duration::from_secs_f64(args.seconds.clamp(0.05, 600.0));
    let count = match args.kind {
        Kind::RoundTrip => round_trips(args.to, until)?,
        Kind::Connect => {
            let counts = std::thread::scope(|scope| {
                let threads: Vec<_> = (0..CONNECTING)
                    .map(|_| scope.spawn(|| connections(args.to, until)))
                    .collect();
                let joined = threads.into_iter().map(|thread| {
                    let count = thread.join();
                    count.unwrap_or_else(|_| Err(anyhow::anyhow!("a thread panicked")))
                });
                joined.collect::<anyhow::Result<Vec<u64>>>()
            })?;
            counts.into_iter().sum()
        }
    };
    let said = Said {
        count,
        seconds: start.elapsed().as_secs_f64(),
    };
    println!("{}", serde_json::to_string(&said)?);
    Ok(())
}

fn connect(to: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, PATIENCE).context("connect")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    Ok(stream)
}

fn connections(to: SocketAddr, until: Instant) -> anyhow::Result<u64> {
    let mut count = 0;
    while Instant::now() < until || count == 0 {
        let n = connect(to)?.read(&mut [0; 1]).context("read end")?;
        ensure!(n == 0, "bytes from a listener that only closes");
        count += 1;
    }
    Ok(count)
}

fn round_trips(to: SocketAddr, until: Instant) -> anyhow::Result<u64> {
    let mut stream = connect(to)?;
    stream.set_nodelay(true)?;
    let mut count = 0_u64;
    while Instant::now() < until || count == 0 {
        let mut message = [b'.'; MESSAGE];
        message[..8].copy_from_slice(&count.to_le_bytes());
        stream.write_all(&message).context("send")?;
        let mut back = [0; MESSAGE];
        stream.read_exact(&mut back).context("read")?;
        ensure!(back == message, "another message came back");
        count += 1;
    }
    Ok(count)
}
