//! What to do with a `connect` or `sendmsg` of an enrolled pod.
//!
//! In: facts of the socket and its destination. Out: one [`Decision`]. Pure: the programs gather
//! the facts and execute. DNS is decided by [`crate::dns`], which this calls.

use crate::counter::Counter;
use crate::dns;
use crate::facts::{Decision, Facts, Transport};
use crate::ports;

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
    use crate::address::Endpoint;
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
