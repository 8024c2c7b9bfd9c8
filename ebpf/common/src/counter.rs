//! One number per kind of decision.
//!
//! The programs count, per CPU, in `COUNTERS`; the agent shows the sums as metrics. A socket that
//! is not enrolled is not counted: it is none of our business.

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident = $label:literal,)*) => {
        /// Index into `COUNTERS`.
        #[repr(u32)]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Counter { $($(#[$doc])* $name,)* }

        impl Counter {
            /// Every counter, in the order of the map.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];
            /// How many there are.
            pub const COUNT: u32 = Self::ALL.len() as u32;

            /// Value of the `decision` label in metrics.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }
        }
    };
}

counters! {
    /// connect: marked, will reach the outbound listener.
    Captured = "captured",
    /// connect: the process is below an exempt cgroup.
    Exempt = "exempt",
    /// connect: the destination is excluded for this pod.
    Excluded = "excluded",
    /// connect: the destination is loopback.
    Loopback = "loopback",
    /// connect: neither TCP nor DNS.
    OtherProtocol = "other_protocol",
    /// connect: the socket already had a mark, which was replaced.
    MarkReplaced = "mark_replaced",
    /// connect: the socket was bound to a device, which was cleared.
    DeviceCleared = "device_cleared",
    /// connect: the socket could not be prepared, so the connection was refused.
    SetsockoptFailed = "setsockopt_failed",
    /// DNS: sent to the proxy.
    DnsRewritten = "dns_rewritten",
    /// DNS: port 53 of an address that is no nameserver of this node, or of a bound device.
    DnsBypassed = "dns_bypassed",
    /// DNS: port 53 of an IPv6 address.
    DnsBypassedV6 = "dns_bypassed_v6",
    /// DNS: the pod keeps plain DNS.
    DnsPlain = "dns_plain",
    /// probe: a connection of the node to a pod was remembered.
    ProbeRecorded = "probe_recorded",
    /// steer: a captured connection went to the outbound listener.
    SteeredOutbound = "steered_outbound",
    /// steer: a plaintext connection went to the inbound listener.
    SteeredInbound = "steered_inbound",
    /// steer: a connection to the HBONE port went to the HBONE listener.
    SteeredHbone = "steered_hbone",
    /// steer: loopback, or the proxy dialling the application; passed.
    SteerLocal = "steer_local",
    /// steer: the pod talks to its own address; passed.
    SteerSelf = "steer_self",
    /// steer: a remembered connection of the node; passed.
    ProbePassed = "probe_passed",
    /// steer: plaintext to a pod that keeps plain inbound; passed.
    InboundPlain = "inbound_plain",
    /// steer: the pod dialled a listener of the proxy itself; refused.
    ReservedPort = "reserved_port",
    /// reroute: a connection that a virtual interface brought was taken.
    Rerouted = "rerouted",
    /// reroute: a piece of TCP whose ports cannot be read (a fragment, IPv6 extension headers); dropped.
    RerouteUnclear = "reroute_unclear",
    /// connect, steer: the listener is missing; refused.
    SlotEmpty = "slot_empty",
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_their_index_and_labels_are_unique() {
        let mut labels = std::collections::BTreeSet::new();
        for (index, counter) in Counter::ALL.iter().enumerate() {
            assert_eq!(*counter as usize, index);
            assert!(labels.insert(counter.label()));
        }
    }
}
