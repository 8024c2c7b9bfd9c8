//! Sockets made in a given namespace with the options capture needs.
//! In: [`ListenSpec`], [`DialSpec`]. Out: listeners as std sockets, dialled streams of the calling runtime.
//! Owns nothing: the caller owns what it gets. Each socket costs two setns(2) when a namespace is given.
//! Must not happen here: a mark chosen by this crate (callers say which), or a dial without a deadline.
//! Spec: ip(7) `IP_TRANSPARENT`, socket(7) `SO_MARK`, `SO_REUSEPORT`, `SO_BINDTODEVICE`.

mod dial;
mod listen;
mod pktinfo;

pub use dial::{DialError, DialSpec};
pub use listen::{ListenError, ListenSpec};
pub use pktinfo::{Datagram, recv_datagram, send_datagram};

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use socket2::{Domain, Socket, TcpKeepalive};

use crate::netns::Netns;

/// Where to listen on every address of the machine: with IPv6, and so for both families, or for IPv4 alone.
#[must_use]
pub fn any_address(ipv6: bool) -> IpAddr {
    if ipv6 {
        Ipv6Addr::UNSPECIFIED.into()
    } else {
        Ipv4Addr::UNSPECIFIED.into()
    }
}

/// TCP keep-alive probing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keepalive {
    /// Idle time before the first probe.
    pub idle: Duration,
    /// Time between probes.
    pub interval: Duration,
    /// Unanswered probes until the connection is dead.
    pub retries: u32,
}

impl Default for Keepalive {
    /// The values Istio's node proxy uses: 180 s, 180 s, 9.
    fn default() -> Self {
        Self {
            idle: Duration::from_secs(180),
            interval: Duration::from_secs(180),
            retries: 9,
        }
    }
}

impl Keepalive {
    fn apply(self, socket: &Socket) -> io::Result<()> {
        socket.set_tcp_keepalive(
            &TcpKeepalive::new()
                .with_time(self.idle)
                .with_interval(self.interval)
                .with_retries(self.retries),
        )
    }
}

/// Which option or call failed while a socket was prepared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Entering the namespace.
    Enter,
    /// socket(2).
    Create,
    /// `SO_MARK`.
    Mark,
    /// `IP_TRANSPARENT` or `IPV6_TRANSPARENT`.
    Transparent,
    /// `SO_BINDTODEVICE`.
    Device,
    /// Any other option.
    Option,
    /// bind(2).
    Bind,
    /// listen(2).
    Listen,
    /// Registration with the runtime.
    Register,
}

fn at<T>(step: Step, result: io::Result<T>) -> Result<T, (Step, io::Error)> {
    result.map_err(|error| (step, error))
}

fn inside<T>(
    netns: Option<&Netns>,
    job: impl FnOnce() -> Result<T, (Step, io::Error)>,
) -> Result<T, (Step, io::Error)> {
    match netns {
        None => job(),
        Some(netns) => at(Step::Enter, netns.enter(job))?,
    }
}

fn domain(ip: IpAddr) -> Domain {
    Domain::for_address(SocketAddr::new(ip, 0))
}

fn set_transparent(socket: &Socket, ip: IpAddr) -> io::Result<()> {
    if ip.is_ipv4() {
        socket.set_ip_transparent_v4(true)
    } else {
        socket.set_ip_transparent_v6(true)
    }
}

#[cfg(test)]
mod tests;
