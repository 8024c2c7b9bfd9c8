//! Kernel side of capture.
//!
//! In: contexts of the hooks, maps written by user space. Out: marked sockets, rewritten DNS
//! addresses, connections handed to the proxy's listeners, counters. Owns no decision: those are
//! in `ambit-ebpf-common`, where they are tested; this crate gathers facts and executes.
//! Must not: let a connection of an enrolled pod out when something fails.
//! Spec: the kernel's `include/uapi/linux/bpf.h`. Built by `cargo xtask ebpf`.
#![no_std]
#![no_main]
#![allow(
    unsafe_code,
    reason = "contexts are raw pointers, helpers and map lookups are unsafe calls"
)]

mod connect;
mod context;
mod dns;
mod maps;
mod probe;
mod reroute;
mod socket;
mod steer;

/// What the verifier and the kernel's helper gate read.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Never reached: nothing here can panic, but the target has no default.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo) -> ! {
    loop {}
}
