//! The floor: what a relay of bytes costs at best, with and without encryption.
//! In: routes. Out: connections relayed, nothing else: no mux, no handshake, no policy, no telemetry.
//! Two relays stand in a row, one in each pod's namespace, as two node proxies do. Each route has the design
//! that costs least for what it carries: bulk a blocking thread per direction with the largest buffers that
//! pay and sixteen records for each system call, small messages one event loop.

mod buffers;
mod copy;
mod events;
mod pair;
mod record;
mod sealed;

use std::net::{SocketAddr, TcpListener};
use std::str::FromStr;
use std::sync::atomic::AtomicUsize;

use ambit_net::socket::ListenSpec;
use anyhow::Context;

use buffers::Buffers;
use pair::Door;

/// Options of a relay.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What it does to the bytes
    #[arg(long, value_enum)]
    mode: Mode,
    /// `LISTEN=CONNECT` of bulk streams
    #[arg(long)]
    bulk: Route,
    /// `LISTEN=CONNECT` of connections with small messages
    #[arg(long)]
    messages: Route,
}

/// What a relay does to the bytes of the connections it accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Mode {
    /// Nothing
    Plain,
    /// Seals them towards where it connects: the client's side
    Seal,
    /// Opens them towards where it connects: the server's side
    Open,
}

impl Mode {
    /// As the command line has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Seal => "seal",
            Self::Open => "open",
        }
    }
}

/// Where to listen and where to connect then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route {
    /// Own address
    pub(crate) listen: SocketAddr,
    /// Next hop
    pub(crate) connect: SocketAddr,
}

impl FromStr for Route {
    type Err = anyhow::Error;

    fn from_str(raw: &str) -> anyhow::Result<Self> {
        let (listen, connect) = raw.split_once('=').context("LISTEN=CONNECT")?;
        Ok(Self {
            listen: listen.parse()?,
            connect: connect.parse()?,
        })
    }
}

impl std::fmt::Display for Route {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.listen, self.connect)
    }
}

/// Relays until killed.
///
/// # Errors
/// A port is taken.
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let bulk = listen(&args.bulk)?;
    bulk.set_nonblocking(false)?;
    let buffers = Buffers::default();
    let door = Door {
        listener: bulk,
        connect: args.bulk.connect,
        mode: args.mode,
        idle: AtomicUsize::new(0),
        buffers: &buffers,
    };
    let messages = listen(&args.messages)?;
    std::thread::scope(|scope| {
        door.open(scope);
        events::serve(messages, args.messages.connect, args.mode)
    })
}

fn listen(route: &Route) -> anyhow::Result<TcpListener> {
    Ok(ListenSpec::new(route.listen).tcp(None)?)
}

/// What a direction does.
#[derive(Clone, Copy)]
enum Work {
    Copy,
    Seal,
    Open,
}

impl Mode {
    /// From where it accepted to where it connected.
    fn front(self) -> Work {
        match self {
            Self::Plain => Work::Copy,
            Self::Seal => Work::Seal,
            Self::Open => Work::Open,
        }
    }

    /// And back.
    fn rear(self) -> Work {
        match self {
            Self::Plain => Work::Copy,
            Self::Seal => Work::Open,
            Self::Open => Work::Seal,
        }
    }
}
