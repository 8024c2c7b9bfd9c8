//! The floor: what a relay of bytes costs at best, with and without encryption.
//! In: routes. Out: connections relayed, nothing else: no mux, no handshake, no policy, no telemetry.
//! Two relays stand in a row, one in each pod's namespace, as two node proxies do. Each connection has a
//! blocking thread per direction and the largest buffers that pay; threads and buffers outlive connections.
//! The sealed floor turns bytes into records as large as TLS 1.3 has, sixteen for each system call.

mod buffers;
mod copy;
mod pair;
mod record;
mod sealed;

use std::net::SocketAddr;
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
    /// `LISTEN=CONNECT`; may be repeated
    #[arg(long = "route", required = true)]
    routes: Vec<Route>,
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
    let buffers = Buffers::default();
    let mut doors = Vec::new();
    for route in &args.routes {
        let listener = ListenSpec::new(route.listen).tcp(None)?;
        listener.set_nonblocking(false)?;
        doors.push(Door {
            listener,
            connect: route.connect,
            mode: args.mode,
            idle: AtomicUsize::new(0),
            buffers: &buffers,
        });
    }
    std::thread::scope(|scope| {
        for door in &doors {
            door.open(scope);
        }
    });
    Ok(())
}
