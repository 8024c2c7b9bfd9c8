//! Sockets, network namespaces, descriptor passing, netlink, sysctls and the byte relay.
//! In: typed specs. Out: sockets, listeners, messages, bytes moved.
//! Owns: descriptors it hands out as owned values; no state besides.
//! Must not happen here: a decision about traffic; a mark or a port chosen by this crate.
#![allow(
    unsafe_code,
    reason = "socket options and namespace calls without a safe wrapper; each block says why it is sound"
)]

pub mod fd_passing;
pub mod netlink;
pub mod netns;
pub mod original_dst;
pub mod relay;
pub mod socket;
pub mod sysctl;
#[cfg(test)]
mod test_ns;

pub use netns::Netns;
