//! What the kernel programs and user space must agree on.
//!
//! In: raw facts of a socket or packet. Out: decisions, map keys and values, names, counters.
//! Owns no state: maps belong to the kernel, `ambit-ebpf-loader` writes them, the programs read.
//! Must not: allocate, panic on any input, or know aya. Every layout is `repr(C)`; a change of
//! one needs a new [`names::ABI_VERSION`].
//! Spec: the kernel's `include/uapi/linux/bpf.h` (`bpf_sock_addr`, `bpf_sk_lookup`, `bpf_sock_ops`,
//! `__sk_buff`).
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]

mod address;
pub mod connect;
mod counter;
pub mod dns;
mod facts;
mod keys;
mod marks;
pub mod names;
mod options;
pub mod reroute;
mod slot;
pub mod steer;

pub use address::{Address, Endpoint};
pub use counter::Counter;
pub use facts::{Decision, Facts, Transport};
pub use keys::{CgroupEntry, EXCLUDED_PORTS, Enrolled, ExcludedKey, ExcludedPorts, ProbeKey};
pub use marks::Mark;
pub use options::PodOptions;
pub use slot::{MAX_SLOTS, Role, Slot};

/// TCP ports the proxy listens on in every enrolled pod; nobody may dial them as a destination.
pub mod ports {
    /// Captured outbound connections.
    pub const OUTBOUND: u16 = 15001;
    /// Plaintext inbound connections.
    pub const INBOUND: u16 = 15006;
    /// HBONE tunnels.
    pub const HBONE: u16 = 15008;
    /// The proxy's DNS server, on 127.53.0.0/16.
    pub const DNS: u16 = 15053;
    /// Plain DNS (RFC 1035 section 4.2).
    pub const PLAIN_DNS: u16 = 53;
}
