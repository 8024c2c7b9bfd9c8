//! Dialling: a socket prepared in a namespace, then connected on the caller's runtime.

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
    /// Source address, which need not be ours (`IP_TRANSPARENT`, `IP_FREEBIND`); the port is the kernel's.
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

/// A prepared socket. Made apart from connecting, so that sockets of one pod can be made ahead.
#[derive(Debug)]
pub struct Unconnected(Socket);

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
        let socket = self.prepare()?;
        self.connect(socket).await
    }

    /// Makes the socket with all options set and its source bound.
    ///
    /// # Errors
    /// [`DialError::Socket`].
    pub fn prepare(&self) -> Result<Unconnected, DialError> {
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
        made.and_then(|socket| self.configure(socket))
            .map(Unconnected)
            .map_err(|failed| self.failed(failed))
    }

    /// Connects a prepared socket.
    ///
    /// # Errors
    /// See [`DialError`].
    pub async fn connect(&self, socket: Unconnected) -> Result<TcpStream, DialError> {
        let socket = TcpSocket::from_std_stream(socket.0.into());
        match tokio::time::timeout(self.timeout, socket.connect(self.to)).await {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(source)) => Err(DialError::Connect {
                to: self.to,
                source,
            }),
            Err(_) => Err(DialError::Timeout {
                to: self.to,
                after: self.timeout,
            }),
        }
    }

    /// A socket keeps the namespace it was made in, so all of this runs outside.
    fn configure(&self, socket: Socket) -> Result<Socket, (Step, io::Error)> {
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
            // The port is then chosen at connect, per destination: many more connections fit.
            at(
                Step::Option,
                nix::sys::socket::setsockopt(
                    &socket,
                    nix::sys::socket::sockopt::IpBindAddressNoPort,
                    &true,
                )
                .map_err(Into::into),
            )?;
            at(Step::Bind, socket.bind(&SocketAddr::new(from, 0).into()))?;
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
