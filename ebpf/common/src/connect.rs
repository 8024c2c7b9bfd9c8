//! What to do with a `connect` or `sendmsg` of an enrolled pod.
//!
//! In: facts of the socket and its destination. Out: one [`Decision`]. Pure: the programs gather
//! the facts and execute. DNS is decided by [`crate::dns`], which this calls.

use crate::address::Endpoint;
use crate::counter::Counter;
use crate::dns;
use crate::ports;

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

/// Decides. An exempt process is left alone whatever it dials; a mark never exempts.
#[inline(always)]
pub fn decide(facts: &Facts) -> Decision {
    if facts.exempt {
        return Decision::Pass(Counter::Exempt);
    }
    if facts.destination.address.is_local() && !is_indexed_dns(facts) {
        return Decision::Pass(Counter::Loopback);
    }
    match facts.transport {
        Transport::Tcp if facts.excluded => Decision::Pass(Counter::Excluded),
        Transport::Tcp => Decision::Capture {
            clear_device: facts.bound_device,
            replaces_mark: facts.marked,
        },
        Transport::Udp if facts.destination.port == ports::PLAIN_DNS => dns::decide(facts),
        Transport::Udp | Transport::Other => Decision::Pass(Counter::OtherProtocol),
    }
}

/// A nameserver may itself be on loopback, as systemd-resolved's 127.0.0.53.
#[inline(always)]
fn is_indexed_dns(facts: &Facts) -> bool {
    matches!(facts.transport, Transport::Udp)
        && facts.destination.port == ports::PLAIN_DNS
        && facts.nameserver.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::IpAddr;

    fn facts(transport: Transport, ip: &str, port: u16) -> Facts {
        Facts {
            transport,
            destination: Endpoint {
                address: ip.parse::<IpAddr>().unwrap().into(),
                port,
            },
            exempt: false,
            excluded: false,
            bound_device: false,
            marked: false,
            plain_dns: false,
            nameserver: None,
        }
    }

    const CAPTURE: Decision = Decision::Capture {
        clear_device: false,
        replaces_mark: false,
    };

    #[test]
    fn tcp_to_anywhere_but_loopback_is_captured() {
        for ip in ["10.0.0.1", "fd00::1", "::ffff:10.0.0.1", "8.8.8.8"] {
            assert_eq!(decide(&facts(Transport::Tcp, ip, 53)), CAPTURE, "{ip}");
        }
        for ip in ["127.0.0.1", "::1", "::ffff:127.1.1.1", "0.0.0.0", "::"] {
            assert_eq!(
                decide(&facts(Transport::Tcp, ip, 80)),
                Decision::Pass(Counter::Loopback),
                "{ip}"
            );
        }
    }

    #[test]
    fn a_mark_or_a_device_does_not_avoid_capture() {
        let with = Facts {
            bound_device: true,
            marked: true,
            ..facts(Transport::Tcp, "10.0.0.1", 80)
        };
        assert_eq!(
            decide(&with),
            Decision::Capture {
                clear_device: true,
                replaces_mark: true
            }
        );
    }

    #[test]
    fn exemption_comes_first_and_exclusion_is_for_tcp() {
        let exempt = Facts {
            exempt: true,
            excluded: true,
            ..facts(Transport::Tcp, "127.0.0.1", 80)
        };
        assert_eq!(decide(&exempt), Decision::Pass(Counter::Exempt));
        let excluded = Facts {
            excluded: true,
            ..facts(Transport::Tcp, "10.0.0.1", 80)
        };
        assert_eq!(decide(&excluded), Decision::Pass(Counter::Excluded));
    }

    #[test]
    fn other_protocols_pass() {
        for transport in [Transport::Udp, Transport::Other] {
            assert_eq!(
                decide(&facts(transport, "10.0.0.1", 443)),
                Decision::Pass(Counter::OtherProtocol)
            );
        }
    }

    #[test]
    fn protocols_are_recognised_by_type_and_number() {
        assert_eq!(Transport::of(1, 6), Transport::Tcp);
        assert_eq!(Transport::of(1, 262), Transport::Tcp);
        assert_eq!(Transport::of(1, 132), Transport::Other);
        assert_eq!(Transport::of(2, 17), Transport::Udp);
        assert_eq!(Transport::of(3, 6), Transport::Other);
    }
}
