//! Where a DNS query goes, and back.
//!
//! In: the facts of a query, or the address an answer came from. Out: a [`Decision`], or the
//! index of the nameserver the application asked. The address *is* the state: nameserver `i` is
//! 127.53.0.`i`, so one socket may ask several servers and nothing has to be remembered.

use crate::address::Endpoint;
use crate::counter::Counter;
use crate::facts::{Decision, Facts};
use crate::names::size;
use crate::ports;

const NET: u32 = 0x7f35_0000;
const NET_MASK: u32 = 0xffff_0000;

/// Decides a UDP query to port 53.
#[inline(always)]
pub fn decide(facts: &Facts) -> Decision {
    if facts.plain_dns {
        return Decision::Pass(Counter::DnsPlain);
    }
    if facts.destination.address.as_v4().is_none() {
        return Decision::Pass(Counter::DnsBypassedV6);
    }
    match facts.nameserver {
        // A socket that is bound to a device cannot reach loopback.
        Some(index) if !facts.bound_device => Decision::RewriteDns(index),
        _ => Decision::Pass(Counter::DnsBypassed),
    }
}

/// The proxy's address for nameserver `index`, one word in network order. Its port is
/// [`ports::DNS`].
#[inline(always)]
pub const fn proxy_word(index: u32) -> u32 {
    (NET | (index & !NET_MASK)).to_be()
}

/// The index of the nameserver that the proxy answers for at `source`, if it is the proxy.
#[inline(always)]
pub const fn index_of(source: &Endpoint) -> Option<u32> {
    if source.port != ports::DNS {
        return None;
    }
    match source.address.as_v4() {
        Some(word) => index_of_word(word),
        None => None,
    }
}

#[inline(always)]
const fn index_of_word(word: u32) -> Option<u32> {
    let word = u32::from_be(word);
    let index = word & !NET_MASK;
    if word & NET_MASK == NET && index != 0 && index < size::NAMESERVERS {
        Some(index)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Address;
    use crate::facts::Transport;
    use core::net::{IpAddr, Ipv4Addr};

    fn query(ip: &str, nameserver: Option<u32>) -> Facts {
        Facts {
            transport: Transport::Udp,
            destination: Endpoint {
                address: ip.parse::<IpAddr>().unwrap().into(),
                port: 53,
            },
            exempt: false,
            excluded: false,
            bound_device: false,
            marked: false,
            plain_dns: false,
            nameserver,
        }
    }

    #[test]
    fn only_known_nameservers_are_rewritten() {
        use crate::connect::decide;
        let known = query("10.96.0.10", Some(2));
        assert_eq!(decide(&known), Decision::RewriteDns(2));
        assert_eq!(
            decide(&query("127.0.0.53", Some(1))),
            Decision::RewriteDns(1)
        );
        for (facts, counter) in [
            (query("9.9.9.9", None), Counter::DnsBypassed),
            (query("127.0.0.1", None), Counter::Loopback),
            (query("2620:fe::fe", None), Counter::DnsBypassedV6),
            (
                Facts {
                    plain_dns: true,
                    ..known
                },
                Counter::DnsPlain,
            ),
            (
                Facts {
                    bound_device: true,
                    ..known
                },
                Counter::DnsBypassed,
            ),
        ] {
            assert_eq!(decide(&facts), Decision::Pass(counter));
        }
    }

    #[test]
    fn every_index_has_an_address_and_comes_back() {
        for index in 1..size::NAMESERVERS {
            let address = Address::v4(proxy_word(index));
            let expected = Ipv4Addr::new(127, 53, 0, u8::try_from(index).unwrap());
            assert_eq!(IpAddr::from(address), expected);
            let port = ports::DNS;
            assert_eq!(index_of(&Endpoint { address, port }), Some(index));
            let port = 53;
            assert_eq!(index_of(&Endpoint { address, port }), None);
        }
    }

    #[test]
    fn foreign_addresses_are_not_the_proxy() {
        for ip in ["127.53.0.0", "127.53.1.0", "127.54.0.1", "10.0.0.1", "::1"] {
            let address: Address = ip.parse::<IpAddr>().unwrap().into();
            let port = ports::DNS;
            assert_eq!(index_of(&Endpoint { address, port }), None, "{ip}");
        }
    }
}
