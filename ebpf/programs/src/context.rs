//! Typed access to the contexts.
//!
//! In: a raw context. Out: endpoints in host order. Every field is read and written volatile, and
//! never in one of two branches that differ in the field only: the compiler would merge such
//! accesses into one through a computed context pointer, which the verifier refuses.
//! `user_port` of `bpf_sock_addr` is a big-endian u16 in the low half.

use ambit_ebpf_common::Transport;
use ambit_ebpf_common::{Address, Endpoint};
use aya_ebpf::bindings::bpf_sock_addr;
use core::ptr::{read_volatile, write_volatile};

/// Reads one field of a context.
macro_rules! read {
    ($context:expr, $($field:tt)+) => {
        // SAFETY: the kernel hands over a valid context and checks each field's offset and size.
        unsafe { core::ptr::read_volatile(&raw const (*$context).$($field)+) }
    };
}
pub(crate) use read;

/// Reads an address that a context holds in two fields, one per family. Reads both, for the reason
/// above; the kernel answers for the wrong family too, with what is not used.
macro_rules! address {
    ($context:expr, $family:expr, $four:ident, $six:ident) => {{
        let four = $crate::context::read!($context, $four);
        let six = [
            $crate::context::read!($context, $six[0]),
            $crate::context::read!($context, $six[1]),
            $crate::context::read!($context, $six[2]),
            $crate::context::read!($context, $six[3]),
        ];
        if $family == $crate::context::AF_INET {
            ambit_ebpf_common::Address::v4(four)
        } else {
            ambit_ebpf_common::Address::v6(six)
        }
    }};
}
pub(crate) use address;

pub(crate) const AF_INET: u32 = 2;

/// Destination (or source, in recvmsg) of an IPv4 hook.
#[inline(always)]
pub(crate) fn endpoint4(context: *mut bpf_sock_addr) -> Endpoint {
    Endpoint {
        address: Address::v4(read!(context, user_ip4)),
        port: port(context),
    }
}

/// The same of an IPv6 hook.
#[inline(always)]
pub(crate) fn endpoint6(context: *mut bpf_sock_addr) -> Endpoint {
    Endpoint {
        address: Address::v6([
            read!(context, user_ip6[0]),
            read!(context, user_ip6[1]),
            read!(context, user_ip6[2]),
            read!(context, user_ip6[3]),
        ]),
        port: port(context),
    }
}

/// Replaces address and port of an IPv4 hook.
#[inline(always)]
pub(crate) fn replace4(context: *mut bpf_sock_addr, word: u32, port: u16) {
    // SAFETY: both fields are writable in the hooks that call this; the verifier checks it.
    unsafe { write_volatile(&raw mut (*context).user_ip4, word) };
    replace_port(context, port);
}

/// Replaces the IPv4 part of an IPv4-mapped address, and the port, of an IPv6 hook.
#[inline(always)]
pub(crate) fn replace6(context: *mut bpf_sock_addr, word: u32, port: u16) {
    // SAFETY: as in `replace4`.
    unsafe { write_volatile(&raw mut (*context).user_ip6[3], word) };
    replace_port(context, port);
}

/// The socket's protocol.
#[inline(always)]
pub(crate) fn transport(context: *mut bpf_sock_addr) -> Transport {
    Transport::of(read!(context, type_), read!(context, protocol))
}

/// Device and mark of the socket, zero where unset.
#[inline(always)]
pub(crate) fn device_and_mark(context: *mut bpf_sock_addr) -> (u32, u32) {
    // SAFETY: a pointer field of the context; the kernel sets it in every hook used here.
    let socket = unsafe { read_volatile(&raw const (*context).__bindgen_anon_1.sk) };
    if socket.is_null() {
        return (0, 0);
    }
    (read!(socket, bound_dev_if), read!(socket, mark))
}

#[inline(always)]
fn port(context: *mut bpf_sock_addr) -> u16 {
    u16::from_be(read!(context, user_port) as u16)
}

#[inline(always)]
fn replace_port(context: *mut bpf_sock_addr, port: u16) {
    // SAFETY: as in `replace4`.
    unsafe { write_volatile(&raw mut (*context).user_port, u32::from(port.to_be())) };
}
