//! Names of maps, programs and globals, and the version of everything behind them.
//!
//! In: nothing. Out: the strings both sides use. A map is pinned under its name in
//! `<pin root>/v<ABI_VERSION>/maps/`.

/// Changes whenever a map, a key, a value or the meaning of one changes.
pub const ABI_VERSION: u32 = 2;

/// Maps.
pub mod map {
    /// Hash: netns cookie (u64) → [`crate::Enrolled`].
    pub const ENROLLED: &str = "ENROLLED";
    /// Array: per slot, [`crate::PodOptions`] bits.
    pub const POD_OPTIONS: &str = "POD_OPTIONS";
    /// Array of [`crate::CgroupEntry`]: processes below these are never captured.
    pub const EXEMPT: &str = "EXEMPT";
    /// Longest prefix: [`crate::ExcludedKey`] → [`crate::ExcludedPorts`].
    pub const EXCLUDED: &str = "EXCLUDED";
    /// Sockmap: `slot * 4 + role` → listener.
    pub const LISTENERS: &str = "LISTENERS";
    /// Hash: [`crate::Address`] of an enrolled pod → slot (u32).
    pub const POD_IPS: &str = "POD_IPS";
    /// Hash: IPv4 nameserver, network order (u32) → index (u32).
    pub const NS_INDEX: &str = "NS_INDEX";
    /// Array: index → IPv4 nameserver, network order (u32), 0 if never used.
    pub const NS_ADDRESS: &str = "NS_ADDRESS";
    /// Array of one [`crate::CgroupEntry`]: sockets of processes below it are no probes.
    pub const KUBEPODS: &str = "KUBEPODS";
    /// Hash: netns cookie of the node (u64) → 1 (u32).
    pub const NODE_NETNS: &str = "NODE_NETNS";
    /// LRU: socket cookie (u64) → 1 (u32): node sockets that may dial a pod directly.
    pub const PROBE_SOCKETS: &str = "PROBE_SOCKETS";
    /// LRU: [`crate::ProbeKey`] → 1 (u32).
    pub const PROBES: &str = "PROBES";
    /// Per-CPU array: [`crate::Counter`] → u64.
    pub const COUNTERS: &str = "COUNTERS";

    /// Every map.
    pub const ALL: [&str; 13] = [
        ENROLLED,
        POD_OPTIONS,
        EXEMPT,
        EXCLUDED,
        LISTENERS,
        POD_IPS,
        NS_INDEX,
        NS_ADDRESS,
        KUBEPODS,
        NODE_NETNS,
        PROBE_SOCKETS,
        PROBES,
        COUNTERS,
    ];
}

/// Programs. Their names in the kernel carry the product's, at most 15 characters.
pub mod program {
    /// TCP and UDP connect, IPv4.
    pub const CONNECT4: &str = "ambit_connect4";
    /// TCP and UDP connect, IPv6.
    pub const CONNECT6: &str = "ambit_connect6";
    /// Unconnected DNS queries, IPv4.
    pub const SENDMSG4: &str = "ambit_sendmsg4";
    /// Unconnected DNS queries, IPv6.
    pub const SENDMSG6: &str = "ambit_sendmsg6";
    /// Names of DNS answers, IPv4.
    pub const RECVMSG4: &str = "ambit_recvmsg4";
    /// Names of DNS answers, IPv4-mapped.
    pub const RECVMSG6: &str = "ambit_recvmsg6";
    /// The nameserver a socket believes to be connected to, IPv4.
    pub const PEERNAME4: &str = "ambit_peername4";
    /// The nameserver a socket believes to be connected to, IPv4-mapped.
    pub const PEERNAME6: &str = "ambit_peername6";
    /// Remembers connections of the node to its pods.
    pub const PROBE: &str = "ambit_probe";
    /// Hands connections of one pod to its listeners.
    pub const STEER: &str = "ambit_steer";
    /// Marks what comes in by a virtual interface of a pod.
    pub const REROUTE: &str = "ambit_reroute";
}

/// Globals set at load time.
pub mod global {
    /// The slot (u32) an instance of [`super::program::STEER`] or [`super::program::REROUTE`] serves.
    pub const SLOT: &str = "SLOT";
    /// The socket option (i32) that marks a captured connection: `SO_MARK`. Only tests set another, to
    /// see what happens when the kernel refuses it.
    pub const MARK_OPTION: &str = "MARK_OPTION";
}

/// Sizes of the maps.
pub mod size {
    /// Addresses of enrolled pods.
    pub const POD_IPS: u32 = 4 * crate::MAX_SLOTS;
    /// Exempt cgroups.
    pub const EXEMPT: u32 = 8;
    /// Excluded destinations of all pods.
    pub const EXCLUDED: u32 = 4096;
    /// Nameserver indices, 0 unused.
    pub const NAMESERVERS: u32 = 256;
    /// Connections of the node to pods that are under way.
    pub const PROBES: u32 = 16_384;
    /// Network namespaces of the node.
    pub const NODE_NETNS: u32 = 4;
}

#[cfg(test)]
mod tests {
    #[test]
    fn kernel_names_fit_in_fifteen_characters() {
        use super::program::*;
        for name in [
            CONNECT4, CONNECT6, SENDMSG4, SENDMSG6, RECVMSG4, RECVMSG6, PEERNAME4, PEERNAME6,
            PROBE, STEER, REROUTE,
        ] {
            assert!(name.len() <= 15, "{name}");
        }
        assert!(super::map::ALL.iter().all(|name| name.len() <= 15));
    }
}
