//! Listeners and bound UDP sockets.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};

use socket2::{Protocol, Socket, Type};

use super::{Keepalive, Step, at, domain, inside, set_transparent};
use crate::netns::Netns;

/// What to listen on. Sockets are non-blocking and close-on-exec.
#[derive(Debug, Clone)]
pub struct ListenSpec {
    /// Address and port; `[::]` accepts IPv4 as well.
    pub addr: SocketAddr,
    /// Accept connections to addresses that are not ours (steered ones).
    pub transparent: bool,
    /// Member of a group of listeners among which the kernel balances.
    pub reuse_port: bool,
    /// Connections that may wait for accept(2).
    pub backlog: i32,
    /// Send small segments at once; accepted sockets inherit it.
    pub nodelay: bool,
    /// Accepted sockets inherit it.
    pub keepalive: Option<Keepalive>,
    /// Only packets that arrive on this device.
    pub device: Option<&'static str>,
}

/// A listener could not be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {addr} ({step:?})")]
pub struct ListenError {
    /// Where.
    pub addr: SocketAddr,
    /// What failed.
    pub step: Step,
    /// Why.
    #[source]
    pub source: io::Error,
}

impl ListenSpec {
    /// A plain listener: backlog 4096, no delay, nothing else.
    pub fn new(addr: SocketAddr) -> Self {
        Self {
            addr,
            transparent: false,
            reuse_port: false,
            backlog: 4096,
            nodelay: true,
            keepalive: None,
            device: None,
        }
    }

    /// A TCP listener in `netns`, or in the thread's own namespace.
    ///
    /// # Errors
    /// [`ListenError`].
    pub fn tcp(&self, netns: Option<&Netns>) -> Result<TcpListener, ListenError> {
        inside(netns, || self.tcp_here())
            .map(TcpListener::from)
            .map_err(|failed| self.error(failed))
    }

    /// A bound UDP socket in `netns`; each datagram tells which address it was sent to
    /// (see [`super::recv_datagram`]).
    ///
    /// # Errors
    /// [`ListenError`].
    pub fn udp(&self, netns: Option<&Netns>) -> Result<UdpSocket, ListenError> {
        inside(netns, || self.udp_here())
            .map(UdpSocket::from)
            .map_err(|failed| self.error(failed))
    }

    fn tcp_here(&self) -> Result<Socket, (Step, io::Error)> {
        let socket = self.open(Type::STREAM, Protocol::TCP)?;
        at(Step::Option, socket.set_reuse_address(true))?;
        at(Step::Option, socket.set_tcp_nodelay(self.nodelay))?;
        if let Some(keepalive) = self.keepalive {
            at(Step::Option, keepalive.apply(&socket))?;
        }
        at(Step::Bind, socket.bind(&self.addr.into()))?;
        at(Step::Listen, socket.listen(self.backlog))?;
        Ok(socket)
    }

    fn udp_here(&self) -> Result<Socket, (Step, io::Error)> {
        let socket = self.open(Type::DGRAM, Protocol::UDP)?;
        let pktinfo = match self.addr.ip() {
            IpAddr::V4(_) => nix::sys::socket::setsockopt(
                &socket,
                nix::sys::socket::sockopt::Ipv4PacketInfo,
                &true,
            ),
            IpAddr::V6(_) => nix::sys::socket::setsockopt(
                &socket,
                nix::sys::socket::sockopt::Ipv6RecvPacketInfo,
                &true,
            ),
        };
        at(Step::Option, pktinfo.map_err(Into::into))?;
        at(Step::Bind, socket.bind(&self.addr.into()))?;
        Ok(socket)
    }

    fn open(&self, kind: Type, protocol: Protocol) -> Result<Socket, (Step, io::Error)> {
        let ip = self.addr.ip();
        let socket = at(
            Step::Create,
            Socket::new(domain(ip), kind.nonblocking(), Some(protocol)),
        )?;
        if self.addr.is_ipv6() {
            at(Step::Option, socket.set_only_v6(false))?;
        }
        if self.transparent {
            at(Step::Transparent, set_transparent(&socket, ip))?;
        }
        if self.reuse_port {
            at(Step::Option, socket.set_reuse_port(true))?;
        }
        if let Some(device) = self.device {
            at(Step::Device, socket.bind_device(Some(device.as_bytes())))?;
        }
        Ok(socket)
    }

    fn error(&self, (step, source): (Step, io::Error)) -> ListenError {
        ListenError {
            addr: self.addr,
            step,
            source,
        }
    }
}
