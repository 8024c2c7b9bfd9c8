//! What a decision of the connect hooks depends on, and what may come of it.

use crate::address::Endpoint;
use crate::counter::Counter;

/// Protocol of a socket, as far as capture cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// TCP, and the subflows of MPTCP.
    Tcp,
    /// UDP.
    Udp,
    /// Anything else.
    Other,
}

impl Transport {
    const SOCK_STREAM: u32 = 1;
    const SOCK_DGRAM: u32 = 2;
    const IPPROTO_TCP: u32 = 6;
    const IPPROTO_UDP: u32 = 17;
    const IPPROTO_MPTCP: u32 = 262;

    /// From `type` and `protocol` of `bpf_sock_addr`.
    #[inline(always)]
    pub const fn of(socket_type: u32, protocol: u32) -> Self {
        match (socket_type, protocol) {
            (Self::SOCK_STREAM, Self::IPPROTO_TCP | Self::IPPROTO_MPTCP) => Self::Tcp,
            (Self::SOCK_DGRAM, Self::IPPROTO_UDP) => Self::Udp,
            _ => Self::Other,
        }
    }
}

/// Everything the decision depends on.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// The socket's protocol.
    pub transport: Transport,
    /// What the application dials.
    pub destination: Endpoint,
    /// The process is below an exempt cgroup.
    pub exempt: bool,
    /// The destination is excluded for this pod.
    pub excluded: bool,
    /// The socket is bound to a device.
    pub bound_device: bool,
    /// The socket already carries a mark.
    pub marked: bool,
    /// The pod keeps plain DNS.
    pub plain_dns: bool,
    /// Index of the destination, if it is a nameserver of this node.
    pub nameserver: Option<u32>,
}

/// What happens to the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// As without the mesh; counted.
    Pass(Counter),
    /// Mark the socket; refuse the connection if that fails.
    Capture {
        /// First unbind it from its device.
        clear_device: bool,
        /// Another mark is overwritten.
        replaces_mark: bool,
    },
    /// Send it to the proxy's DNS server, at this index.
    RewriteDns(u32),
}
