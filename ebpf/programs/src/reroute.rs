//! Hook tcx ingress: packets that a virtual interface of a pod brings.
//!
//! In: a packet from a virtual machine or container inside the pod. Out: a mark, by which rules
//! deliver it to the pod's own sockets or let it go its way. One instance per interface.

use crate::context::read;
use crate::maps;
use crate::steer::SLOT;
use ambit_ebpf_common::Mark;
use ambit_ebpf_common::reroute::{Packet, Socket, Verdict, decide};
use aya_ebpf::bindings::{__sk_buff, bpf_sock_tuple};
use aya_ebpf::helpers::generated::{
    bpf_sk_release, bpf_skb_load_bytes_relative, bpf_skc_lookup_tcp,
};
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use core::ffi::c_void;

/// The next program of the interface, or the stack (`TCX_NEXT`).
const NEXT: i32 = -1;
/// `TCX_DROP`.
const DROP: i32 = 2;
const ETH_P_IP: u16 = 0x0800;
const ETH_P_IPV6: u16 = 0x86dd;
/// Offsets count from the network header, with or without one of a link (`BPF_HDR_START_NET`).
const FROM_NETWORK_HEADER: u32 = 1;
const IPV6_HEADER: u32 = 40;
/// Offset of the flags in a TCP header.
const TCP_FLAGS: u32 = 13;
/// `TCP_LISTEN` of the kernel's socket states.
const LISTEN: u32 = 10;
const THIS_NETNS: u64 = u64::MAX;

#[classifier]
fn ambit_reroute(context: TcContext) -> i32 {
    let skb = context.skb.skb;
    let wanted = maps::options(SLOT.load()).reroute;
    let verdict = match u16::from_be(read!(skb, protocol) as u16) {
        ETH_P_IP => v4(skb, wanted),
        ETH_P_IPV6 => v6(skb, wanted),
        _ => return NEXT,
    };
    match verdict {
        Verdict::Leave => NEXT,
        Verdict::Forward => mark(skb, Mark::LOOKED_AT),
        Verdict::Take(counter) => {
            if let Some(counter) = counter {
                maps::count(counter);
            }
            mark(skb, Mark::REROUTED)
        }
        Verdict::Drop(counter) => {
            maps::count(counter);
            DROP
        }
    }
}

#[inline(always)]
fn mark(skb: *mut __sk_buff, mark: Mark) -> i32 {
    // SAFETY: the mark is a writable field of the context.
    unsafe { core::ptr::write_volatile(&raw mut (*skb).mark, mark.0) };
    NEXT
}

#[inline(always)]
fn v4(skb: *mut __sk_buff, wanted: bool) -> Verdict {
    let Some(header) = load::<20>(skb, 0) else {
        return Verdict::Leave;
    };
    let length = u32::from(header[0] & 0x0f) * 4;
    let fragment = u16::from_be_bytes([header[6], header[7]]);
    let packet = Packet::v4(header[9], fragment, || byte(skb, length + TCP_FLAGS));
    decide(packet, wanted, || {
        let Some(ports) = load::<4>(skb, length) else {
            return Socket::None;
        };
        let [.., a, b, c, d, e, f, g, h] = header;
        let mut tuple = [0; 12];
        tuple.copy_from_slice(&[
            a, b, c, d, e, f, g, h, ports[0], ports[1], ports[2], ports[3],
        ]);
        socket(skb, &tuple)
    })
}

#[inline(always)]
fn v6(skb: *mut __sk_buff, wanted: bool) -> Verdict {
    let Some(next) = byte(skb, 6) else {
        return Verdict::Leave;
    };
    let packet = Packet::v6(next, || byte(skb, IPV6_HEADER + TCP_FLAGS));
    decide(packet, wanted, || {
        // Both addresses and, behind the header, both ports: as in the tuple.
        match load::<36>(skb, 8) {
            Some(tuple) => socket(skb, &tuple),
            None => Socket::None,
        }
    })
}

/// Looks for the socket of a `bpf_sock_tuple`: addresses and ports in network order.
#[inline(always)]
fn socket<const N: usize>(skb: *mut __sk_buff, tuple: &[u8; N]) -> Socket {
    // SAFETY: the context, a readable tuple of the size passed; what is found is released.
    unsafe {
        let found = bpf_skc_lookup_tcp(
            skb.cast::<c_void>(),
            tuple.as_ptr().cast_mut().cast::<bpf_sock_tuple>(),
            N as u32,
            THIS_NETNS,
            0,
        );
        if found.is_null() {
            return Socket::None;
        }
        let state = core::ptr::read_volatile(&raw const (*found).state);
        bpf_sk_release(found.cast::<c_void>());
        if state == LISTEN {
            Socket::Listener
        } else {
            Socket::Connection
        }
    }
}

#[inline(always)]
fn byte(skb: *mut __sk_buff, offset: u32) -> Option<u8> {
    load::<1>(skb, offset).map(|[byte]| byte)
}

/// Bytes of the packet, from the network header on; `None` beyond its end.
#[inline(always)]
fn load<const N: usize>(skb: *mut __sk_buff, offset: u32) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    // SAFETY: the context, and writable memory of the size passed.
    let result = unsafe {
        bpf_skb_load_bytes_relative(
            skb.cast::<c_void>(),
            offset,
            bytes.as_mut_ptr().cast::<c_void>(),
            N as u32,
            FROM_NETWORK_HEADER,
        )
    };
    (result == 0).then_some(bytes)
}
