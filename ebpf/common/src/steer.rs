//! Which listener gets a connection that arrives in an enrolled pod.
//!
//! In: facts of the SYN. Out: one [`Decision`]. Pure: the lookups are passed in, and are made
//! only when the order of the tests comes to them. The order matters; each step has a test.

use crate::address::{Address, Endpoint};
use crate::counter::Counter;
use crate::options::PodOptions;
use crate::ports;
use crate::slot::Role;

/// Interface index of `lo`, the same in every network namespace.
pub const LOOPBACK_IFINDEX: u32 = 1;

/// What the SYN says.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Output interface of the route (`bpf_sk_lookup.ingress_ifindex`). For the pod's own address
    /// this is its real device although the packet runs over `lo`.
    pub ifindex: u32,
    /// Who dials.
    pub remote: Endpoint,
    /// What is dialled.
    pub local: Endpoint,
    /// What this pod switched off.
    pub options: PodOptions,
}

/// Where the connection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// To whatever socket the kernel finds.
    Pass(Counter),
    /// To this pod's listener for the role; refused if there is none.
    Assign(Role),
    /// To this pod's outbound listener, counted before.
    Rerouted,
    /// Nowhere.
    Refuse(Counter),
}

/// Decides a TCP connection. `is_own` tells whether an address belongs to *this* pod: a pod that
/// dials its neighbour loops through `lo` too. `is_probe` tells whether the node dialled.
#[inline(always)]
pub fn decide(
    facts: &Facts,
    is_own: impl Fn(&Address) -> bool,
    is_probe: impl FnOnce(&Facts) -> bool,
) -> Decision {
    let (remote, local) = (&facts.remote.address, &facts.local.address);
    if facts.ifindex == LOOPBACK_IFINDEX {
        if local.is_local() {
            return pass_unless_reserved(facts.local.port, Counter::SteerLocal);
        }
        if is_own(local) {
            return Decision::Pass(Counter::SteerLocal);
        }
        return Decision::Assign(Role::Outbound);
    }
    // Only what `reroute` marked is delivered here although it is for somebody else.
    if facts.options.reroute && !local.is_local() && !is_own(local) {
        return Decision::Rerouted;
    }
    if remote.words == local.words {
        return pass_unless_reserved(facts.local.port, Counter::SteerSelf);
    }
    if facts.local.port == ports::HBONE {
        return Decision::Assign(Role::Hbone);
    }
    if is_probe(facts) {
        return Decision::Pass(Counter::ProbePassed);
    }
    if facts.options.plain_inbound {
        return pass_unless_reserved(facts.local.port, Counter::InboundPlain);
    }
    Decision::Assign(Role::Inbound)
}

/// Whoever dials the proxy's capture listeners by name has no original destination.
#[inline(always)]
fn pass_unless_reserved(port: u16, counter: Counter) -> Decision {
    if port == ports::OUTBOUND || port == ports::INBOUND {
        Decision::Refuse(Counter::ReservedPort)
    } else {
        Decision::Pass(counter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::IpAddr;

    const OWN: &str = "10.0.0.2";
    const NEIGHBOUR: &str = "10.0.0.3";
    const ETH0: u32 = 2;

    fn facts(ifindex: u32, remote: &str, local: &str, port: u16) -> Facts {
        let end = |ip: &str, port| Endpoint {
            address: ip.parse::<IpAddr>().unwrap().into(),
            port,
        };
        Facts {
            ifindex,
            remote: end(remote, 40_000),
            local: end(local, port),
            options: PodOptions::default(),
        }
    }

    fn decided(facts: &Facts, probe: bool) -> Decision {
        let own: Address = OWN.parse::<IpAddr>().unwrap().into();
        decide(facts, |address| *address == own, |_| probe)
    }

    #[test]
    fn looped_connections_are_outbound_even_to_the_neighbour_and_to_hbone() {
        for (ip, port) in [(NEIGHBOUR, 80), ("10.96.0.1", 443), ("fd00::9", 15008)] {
            let looped = facts(LOOPBACK_IFINDEX, OWN, ip, port);
            assert_eq!(decided(&looped, true), Decision::Assign(Role::Outbound));
        }
    }

    #[test]
    fn loopback_and_the_proxy_dialling_the_app_pass() {
        for (remote, local) in [
            ("127.0.0.1", "127.0.0.1"),
            ("::1", "::1"),
            ("10.9.9.9", OWN),
        ] {
            let local = facts(LOOPBACK_IFINDEX, remote, local, 80);
            assert_eq!(decided(&local, false), Decision::Pass(Counter::SteerLocal));
        }
    }

    #[test]
    fn the_app_may_listen_on_a_port_the_proxy_uses_elsewhere_when_the_proxy_dials_it() {
        let to_app = facts(LOOPBACK_IFINDEX, "10.9.9.9", OWN, ports::OUTBOUND);
        assert_eq!(decided(&to_app, false), Decision::Pass(Counter::SteerLocal));
    }

    #[test]
    fn a_pod_that_dials_itself_passes_but_not_into_the_proxy() {
        let own = facts(ETH0, OWN, OWN, 8080);
        assert_eq!(decided(&own, false), Decision::Pass(Counter::SteerSelf));
        for (remote, local, ifindex) in [(OWN, OWN, ETH0), ("127.0.0.1", "127.0.0.1", 1)] {
            for port in [ports::OUTBOUND, ports::INBOUND] {
                assert_eq!(
                    decided(&facts(ifindex, remote, local, port), false),
                    Decision::Refuse(Counter::ReservedPort)
                );
            }
        }
    }

    #[test]
    fn the_hbone_port_is_ours_even_for_the_node() {
        let hbone = facts(ETH0, "10.9.9.9", OWN, ports::HBONE);
        assert_eq!(decided(&hbone, true), Decision::Assign(Role::Hbone));
    }

    #[test]
    fn probes_pass_and_all_else_is_inbound() {
        let plain = facts(ETH0, "10.9.9.9", OWN, 8080);
        assert_eq!(decided(&plain, true), Decision::Pass(Counter::ProbePassed));
        assert_eq!(decided(&plain, false), Decision::Assign(Role::Inbound));
    }

    #[test]
    fn what_a_virtual_interface_brings_is_outbound_unless_it_is_for_the_pod() {
        let options = PodOptions {
            reroute: true,
            ..PodOptions::default()
        };
        let brought = |to: &str, port| Facts {
            options,
            ..facts(7, "192.168.9.2", to, port)
        };
        for (to, port) in [("10.96.0.1", 80), (NEIGHBOUR, 15008), ("fd00::9", 443)] {
            assert_eq!(decided(&brought(to, port), true), Decision::Rerouted);
        }
        assert_eq!(
            decided(&brought(OWN, 80), false),
            Decision::Assign(Role::Inbound)
        );
        assert_eq!(
            decided(&brought(OWN, 15008), false),
            Decision::Assign(Role::Hbone)
        );
    }

    #[test]
    fn plain_inbound_keeps_hbone_and_guards_the_listeners() {
        let options = PodOptions {
            plain_inbound: true,
            ..PodOptions::default()
        };
        let at = |port| Facts {
            options,
            ..facts(ETH0, "10.9.9.9", OWN, port)
        };
        assert_eq!(
            decided(&at(80), false),
            Decision::Pass(Counter::InboundPlain)
        );
        assert_eq!(decided(&at(15008), false), Decision::Assign(Role::Hbone));
        assert_eq!(
            decided(&at(15001), false),
            Decision::Refuse(Counter::ReservedPort)
        );
    }
}
