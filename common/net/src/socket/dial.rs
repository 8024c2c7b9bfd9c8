//! Dialling: a socket prepared in a namespace, then connected on the caller's runtime.

mod foreign;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use socket2::{Protocol, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};

use super::{Keepalive, Step, at, domain, inside, set_transparent};
use crate::netns::Netns;

/// One connection to make.
#[derive(Debug, Clone)]
pub struct DialSpec<'a> {
    /// Namespace the socket belongs to; the calling thread's without one.
    pub netns: Option<&'a Netns>,
    /// Destination.
    pub to: SocketAddr,
    /// Source address, which need not be ours (`IP_TRANSPARENT`, `IP_FREEBIND`); the port is one that its owner,
    /// if it dials the same destination, hardly has.
    pub from: Option<IpAddr>,
    /// `SO_MARK`.
    pub mark: Option<u32>,
    /// Device the packets must leave through.
    pub bind_device: Option<&'a str>,
    /// Keep-alive probing.
    pub keepalive: Option<Keepalive>,
    /// From SYN to established.
    pub timeout: Duration,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The socket could not be prepared: our own trouble (privileges, descriptors), not the peer's.
    #[error("cannot prepare a socket to {to} ({step:?})")]
    Socket {
        /// Destination.
        to: SocketAddr,
        /// What failed.
        step: Step,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The destination refused or cannot be reached.
    #[error("cannot connect to {to}")]
    Connect {
        /// Destination.
        to: SocketAddr,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No answer in time.
    #[error("no answer from {to} within {after:?}")]
    Timeout {
        /// Destination.
        to: SocketAddr,
        /// How long was waited.
        after: Duration,
    },
}

impl DialError {
    /// The destination.
    pub fn to(&self) -> SocketAddr {
        match self {
            Self::Socket { to, .. } | Self::Connect { to, .. } | Self::Timeout { to, .. } => *to,
        }
    }

    /// As an [`io::ErrorKind`], for callers that only tell refused, unreachable and timed out apart.
    pub fn kind(&self) -> io::ErrorKind {
        match self {
            Self::Socket { source, .. } | Self::Connect { source, .. } => source.kind(),
            Self::Timeout { .. } => io::ErrorKind::TimedOut,
        }
    }
}

/// A prepared socket.
struct Unconnected(Socket);

impl<'a> DialSpec<'a> {
    /// A plain dial from the thread's own namespace: no mark, no keep-alive.
    pub fn new(to: SocketAddr, timeout: Duration) -> Self {
        Self {
            netns: None,
            to,
            from: None,
            mark: None,
            bind_device: None,
            keepalive: None,
            timeout,
        }
    }

    /// The same, with the socket in `netns`.
    #[must_use]
    pub fn within(mut self, netns: &'a Netns) -> Self {
        self.netns = Some(netns);
        self
    }

    /// Prepares and connects; the stream belongs to the calling runtime.
    ///
    /// # Errors
    /// See [`DialError`].
    pub async fn dial(&self) -> Result<TcpStream, DialError> {
        if self.from.is_some() {
            return foreign::dial(self, foreign::port).await;
        }
        self.connect(self.prepare_from(0)?, self.timeout).await
    }

    /// Makes the socket with all options set, for a look at whether that is allowed.
    ///
    /// # Errors
    /// [`DialError::Socket`].
    pub fn prepare(&self) -> Result<(), DialError> {
        self.prepare_from(0).map(drop)
    }

    /// Makes the socket with all options set and its source bound; port 0 leaves the choice to connect(2).
    fn prepare_from(&self, port: u16) -> Result<Unconnected, DialError> {
        let made = inside(self.netns, || {
            at(
                Step::Create,
                Socket::new(
                    domain(self.to.ip()),
                    Type::STREAM.nonblocking(),
                    Some(Protocol::TCP),
                ),
            )
        });
        made.and_then(|socket| self.configure(socket, port))
            .map(Unconnected)
            .map_err(|failed| self.failed(failed))
    }

    async fn connect(&self, socket: Unconnected, within: Duration) -> Result<TcpStream, DialError> {
        let socket = TcpSocket::from_std_stream(socket.0.into());
        match tokio::time::timeout(within, socket.connect(self.to)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(source)) => Err(DialError::Connect {
                to: self.to,
                source,
            }),
            Err(_) => Err(DialError::Timeout {
                to: self.to,
                after: within,
            }),
        }
    }

    /// A socket keeps the namespace it was made in, so all of this runs outside.
    fn configure(&self, socket: Socket, port: u16) -> Result<Socket, (Step, io::Error)> {
        at(Step::Option, socket.set_tcp_nodelay(true))?;
        if let Some(keepalive) = self.keepalive {
            at(Step::Option, keepalive.apply(&socket))?;
        }
        if let Some(mark) = self.mark {
            at(Step::Mark, socket.set_mark(mark))?;
        }
        if let Some(device) = self.bind_device {
            at(Step::Device, socket.bind_device(Some(device.as_bytes())))?;
        }
        if let Some(from) = self.from {
            let from = if self.to.is_ipv4() {
                from.to_canonical()
            } else {
                from
            };
            at(Step::Transparent, set_transparent(&socket, from))?;
            at(
                Step::Option,
                if from.is_ipv4() {
                    socket.set_freebind_v4(true)
                } else {
                    socket.set_freebind_v6(true)
                },
            )?;
            at(Step::Option, leave_room(&socket, port))?;
            at(Step::Bind, socket.bind(&SocketAddr::new(from, port).into()))?;
        }
        Ok(socket)
    }

    fn failed(&self, (step, source): (Step, io::Error)) -> DialError {
        DialError::Socket {
            to: self.to,
            step,
            source,
        }
    }
}

/// One port serves several destinations: a given one is shared, another is chosen at connect, per destination.
fn leave_room(socket: &Socket, port: u16) -> io::Result<()> {
    if port != 0 {
        return socket.set_reuse_address(true);
    }
    let late = nix::sys::socket::sockopt::IpBindAddressNoPort;
    Ok(nix::sys::socket::setsockopt(socket, late, &true)?)
}
