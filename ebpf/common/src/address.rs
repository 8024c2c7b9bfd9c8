//! IP addresses as the kernel hands them over.
//!
//! In: words in network byte order, or `core::net` addresses. Out: one 16-byte form for both
//! families, IPv4 as ::ffff:a.b.c.d (RFC 4291 section 2.5.5.2), so that maps and decisions have
//! no second path. Owns nothing.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An IPv4-mapped or IPv6 address; four words in network byte order, as in `bpf_sock_addr`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// The words, each in network byte order.
    pub words: [u32; 4],
}

const MAPPED: u32 = 0xffff_u32.to_be();

impl Address {
    /// From the one word of an IPv4 context field (`user_ip4`, `remote_ip4`).
    #[inline(always)]
    pub const fn v4(word: u32) -> Self {
        Self {
            words: [0, 0, MAPPED, word],
        }
    }

    /// From the four words of an IPv6 context field.
    #[inline(always)]
    pub const fn v6(words: [u32; 4]) -> Self {
        Self { words }
    }

    /// The IPv4 word, if this is an IPv4 or IPv4-mapped address.
    #[inline(always)]
    pub const fn as_v4(&self) -> Option<u32> {
        if self.words[0] == 0 && self.words[1] == 0 && self.words[2] == MAPPED {
            Some(self.words[3])
        } else {
            None
        }
    }

    /// 127.0.0.0/8, ::1, and the unspecified addresses, which Linux connects to itself.
    #[inline(always)]
    pub const fn is_local(&self) -> bool {
        match self.as_v4() {
            Some(word) => word == 0 || u32::from_be(word) >> 24 == 127,
            None => {
                self.words[0] == 0
                    && self.words[1] == 0
                    && self.words[2] == 0
                    && u32::from_be(self.words[3]) <= 1
            }
        }
    }
}

impl From<Ipv4Addr> for Address {
    fn from(ip: Ipv4Addr) -> Self {
        Self::v4(u32::from_ne_bytes(ip.octets()))
    }
}

impl From<Ipv6Addr> for Address {
    fn from(ip: Ipv6Addr) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = ip.octets();
        Self::v6([
            u32::from_ne_bytes([a, b, c, d]),
            u32::from_ne_bytes([e, f, g, h]),
            u32::from_ne_bytes([i, j, k, l]),
            u32::from_ne_bytes([m, n, o, p]),
        ])
    }
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => ip.into(),
            IpAddr::V6(ip) => ip.into(),
        }
    }
}

impl From<Address> for IpAddr {
    /// IPv4-mapped addresses come back as IPv4.
    fn from(address: Address) -> Self {
        match address.as_v4() {
            Some(word) => Ipv4Addr::from(word.to_ne_bytes()).into(),
            None => {
                let mut octets = [0; 16];
                for (chunk, word) in octets.chunks_exact_mut(4).zip(address.words) {
                    chunk.copy_from_slice(&word.to_ne_bytes());
                }
                Ipv6Addr::from(octets).into()
            }
        }
    }
}

/// One end of a connection.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The address.
    pub address: Address,
    /// The port, host order.
    pub port: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_families_survive_the_way_there_and_back() {
        for text in ["10.1.2.3", "0.0.0.0", "fd00::1:2", "::1", "2001:db8::ffff"] {
            let ip: IpAddr = text.parse().unwrap();
            assert_eq!(IpAddr::from(Address::from(ip)), ip);
        }
    }

    #[test]
    fn a_mapped_address_is_its_ipv4_address() {
        let mapped: IpAddr = "::ffff:10.1.2.3".parse().unwrap();
        assert_eq!(Address::from(mapped), Ipv4Addr::new(10, 1, 2, 3).into());
    }

    #[test]
    fn local_addresses_are_those_that_never_leave_the_pod() {
        for (text, local) in [
            ("127.0.0.1", true),
            ("127.53.0.9", true),
            ("::ffff:127.0.0.1", true),
            ("0.0.0.0", true),
            ("::", true),
            ("::1", true),
            ("::2", false),
            ("126.255.255.255", false),
            ("128.0.0.1", false),
            ("fe80::1", false),
        ] {
            let ip: IpAddr = text.parse().unwrap();
            assert_eq!(Address::from(ip).is_local(), local, "{text}");
        }
    }
}
