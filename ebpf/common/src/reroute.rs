//! What becomes of a packet that comes in by a virtual interface of a pod.
//!
//! In: what the packet is, whether the pod still wants it, and which socket of the pod it is for.
//! Out: one [`Verdict`]. Pure: the socket is looked for only where it matters.

use crate::counter::Counter;

/// `protocol` of an IPv4 header, `next header` of an IPv6 one.
pub mod protocol {
    /// TCP (RFC 9293).
    pub const TCP: u8 = 6;
    /// IPv6 hop-by-hop options.
    pub const HOP_BY_HOP: u8 = 0;
    /// IPv6 routing header.
    pub const ROUTING: u8 = 43;
    /// IPv6 fragment header.
    pub const FRAGMENT: u8 = 44;
    /// Authentication header.
    pub const AUTHENTICATION: u8 = 51;
    /// IPv6 destination options.
    pub const DESTINATION: u8 = 60;
}

/// What arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packet {
    /// A whole TCP segment.
    Tcp {
        /// SYN without ACK: it opens a connection.
        opens: bool,
    },
    /// It may be TCP, but its ports cannot be read.
    Unclear,
    /// Anything else.
    Other,
}

impl Packet {
    /// From an IPv4 header: its protocol and the field of flags and fragment offset, host order.
    #[inline(always)]
    pub fn v4(kind: u8, fragment: u16, flags: impl FnOnce() -> Option<u8>) -> Self {
        if kind != protocol::TCP {
            return Self::Other;
        }
        if fragment & MORE_FRAGMENTS_OR_OFFSET != 0 {
            return Self::Unclear;
        }
        Self::tcp(flags())
    }

    /// From the next header of an IPv6 header.
    #[inline(always)]
    pub fn v6(next: u8, flags: impl FnOnce() -> Option<u8>) -> Self {
        match next {
            protocol::TCP => Self::tcp(flags()),
            protocol::HOP_BY_HOP
            | protocol::ROUTING
            | protocol::FRAGMENT
            | protocol::AUTHENTICATION
            | protocol::DESTINATION => Self::Unclear,
            _ => Self::Other,
        }
    }

    #[inline(always)]
    fn tcp(flags: Option<u8>) -> Self {
        match flags {
            Some(flags) => Self::Tcp {
                opens: flags & (SYN | ACK) == SYN,
            },
            None => Self::Unclear,
        }
    }
}

/// Which socket of the pod a packet is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Socket {
    /// None: somebody else's connection.
    None,
    /// One that listens.
    Listener,
    /// One of a connection.
    Connection,
}

/// Where the packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// To the pod's own sockets ([`crate::Mark::REROUTED`]).
    Take(Option<Counter>),
    /// Wherever routes lead ([`crate::Mark::LOOKED_AT`]).
    Forward,
    /// The same, and it is none of our business.
    Leave,
    /// Nowhere.
    Drop(Counter),
}

/// Decides a packet. `wanted` tells whether new connections are taken.
#[inline(always)]
pub fn decide(packet: Packet, wanted: bool, socket: impl FnOnce() -> Socket) -> Verdict {
    match packet {
        Packet::Other => Verdict::Leave,
        Packet::Unclear if wanted => Verdict::Drop(Counter::RerouteUnclear),
        Packet::Tcp { opens: true } if wanted => Verdict::Take(Some(Counter::Rerouted)),
        Packet::Tcp { opens: true } | Packet::Unclear => Verdict::Forward,
        Packet::Tcp { opens: false } => match socket() {
            Socket::Connection => Verdict::Take(None),
            Socket::Listener | Socket::None => Verdict::Forward,
        },
    }
}

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const MORE_FRAGMENTS_OR_OFFSET: u16 = 0x3fff;

#[cfg(test)]
mod tests {
    use super::*;

    const OPENS: Packet = Packet::Tcp { opens: true };
    const GOES_ON: Packet = Packet::Tcp { opens: false };

    #[test]
    fn a_packet_is_what_its_headers_say() {
        let v4 = |kind, fragment, flags| Packet::v4(kind, fragment, || flags);
        assert_eq!(v4(6, 0x4000, Some(0x02)), OPENS, "do not fragment");
        assert_eq!(v4(6, 0, Some(0xc2)), OPENS, "with ECN");
        assert_eq!(v4(6, 0, Some(0x12)), GOES_ON, "SYN and ACK");
        assert_eq!(v4(6, 0, Some(0x10)), GOES_ON);
        assert_eq!(v4(6, 0, None), Packet::Unclear, "too short");
        assert_eq!(v4(6, 0x2000, Some(0x02)), Packet::Unclear, "more fragments");
        assert_eq!(
            v4(6, 0x0010, Some(0x02)),
            Packet::Unclear,
            "a later fragment"
        );
        assert_eq!(v4(17, 0x2000, None), Packet::Other);
        assert_eq!(Packet::v6(6, || Some(0x02)), OPENS);
        for next in [0, 43, 44, 51, 60] {
            assert_eq!(Packet::v6(next, || None), Packet::Unclear, "{next}");
        }
        assert_eq!(Packet::v6(58, || None), Packet::Other);
    }

    #[test]
    fn connections_are_taken_while_wanted_and_keep_their_packets_afterwards() {
        let no_look = || unreachable!("nobody looks for a socket");
        assert_eq!(
            decide(OPENS, true, no_look),
            Verdict::Take(Some(Counter::Rerouted))
        );
        assert_eq!(decide(OPENS, false, no_look), Verdict::Forward);
        for wanted in [true, false] {
            let on = |socket| decide(GOES_ON, wanted, || socket);
            assert_eq!(on(Socket::Connection), Verdict::Take(None));
            assert_eq!(on(Socket::Listener), Verdict::Forward);
            assert_eq!(on(Socket::None), Verdict::Forward);
            assert_eq!(decide(Packet::Other, wanted, no_look), Verdict::Leave);
        }
    }

    #[test]
    fn what_cannot_be_read_does_not_get_out_while_the_pod_is_captured() {
        let no_look = || unreachable!("nobody looks for a socket");
        assert_eq!(
            decide(Packet::Unclear, true, no_look),
            Verdict::Drop(Counter::RerouteUnclear)
        );
        assert_eq!(decide(Packet::Unclear, false, no_look), Verdict::Forward);
    }
}
