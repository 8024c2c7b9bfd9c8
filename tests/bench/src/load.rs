//! Load, as an application makes it.
//! In: what to do, against whom, for how long. Out: one line of JSON, a [`Summary`].
//! Never here: knowledge of the path. The same options, threads and sockets for every contender.

mod bulk;
mod connect;
mod hold;
mod paced;
mod requests;
mod stream;
mod summary;

use std::net::SocketAddr;
use std::time::Duration;

use clap::Subcommand;

pub(crate) use hold::HeldLine;
pub(crate) use summary::{Latency, Summary};

/// Longest a peer may keep a client waiting.
const PATIENCE: Duration = Duration::from_secs(10);

/// Options of a load generator.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where to connect
    #[arg(long)]
    to: SocketAddr,
    /// How long
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    #[command(subcommand)]
    kind: Kind,
}

/// What to do.
#[derive(Subcommand)]
enum Kind {
    /// Streams that send as fast as they can
    Bulk {
        /// How many
        #[arg(long)]
        streams: usize,
    },
    /// Connections that each ask again as soon as they are answered
    Requests {
        /// How many
        #[arg(long)]
        connections: usize,
    },
    /// Requests at fixed times, whether or not earlier ones are answered
    Paced {
        /// Requests per second
        #[arg(long)]
        rate: u32,
    },
    /// One request per connection
    Connect {
        /// Connections at a time
        #[arg(long)]
        workers: usize,
    },
    /// Connections that do nothing after their first request
    Hold {
        /// How many at each step; a line on standard input asks for the next
        #[arg(long)]
        count: usize,
        /// Steps
        #[arg(long)]
        steps: usize,
    },
}

/// Makes the load and prints what came of it.
///
/// # Errors
/// Anything that did not go as it should; a single failed request is enough.
#[expect(clippy::print_stdout, reason = "the summary is this program's output")]
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let time = Duration::from_secs_f64(args.seconds.clamp(0.05, 600.0));
    let summary = match args.kind {
        Kind::Bulk { streams } => bulk::run(args.to, streams, time)?,
        Kind::Requests { connections } => requests::run(args.to, connections, time)?,
        Kind::Paced { rate } => paced::run(args.to, rate, time)?,
        Kind::Connect { workers } => connect::run(args.to, workers, time)?,
        Kind::Hold { count, steps } => hold::run(args.to, count, steps)?,
    };
    println!("{}", serde_json::to_string(&summary)?);
    Ok(())
}
