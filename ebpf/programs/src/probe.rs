//! Hook `sock_ops`: connections of the node to its pods, such as the kubelet's probes.
//!
//! In: a socket that is about to send its SYN, so that both ports are known. Out: the 4-tuple as
//! the pod will see it, before the pod can see it. Which sockets count was decided in `connect`.

use crate::context::{address, read};
use crate::maps;
use ambit_ebpf_common::{Counter, ProbeKey};
use aya_ebpf::bindings::{BPF_SOCK_OPS_TCP_CONNECT_CB, bpf_sock_ops};
use aya_ebpf::helpers::generated::bpf_get_socket_cookie;
use aya_ebpf::macros::sock_ops;
use aya_ebpf::programs::SockOpsContext;

const HANDLED: u32 = 1;

#[sock_ops]
fn ambit_probe(context: SockOpsContext) -> u32 {
    let context = context.ops;
    if read!(context, op) != BPF_SOCK_OPS_TCP_CONNECT_CB {
        return HANDLED;
    }
    // SAFETY: the helper takes the hook's own context.
    let cookie = unsafe { bpf_get_socket_cookie(context.cast()) };
    if maps::take_probe(cookie) && maps::record_probe(&key(context)) {
        maps::count(Counter::ProbeRecorded);
    }
    HANDLED
}

/// The pod's view: the socket's own end is the remote one. `local_port` is in host order,
/// `remote_port` big-endian in the upper half.
#[inline(always)]
fn key(context: *mut bpf_sock_ops) -> ProbeKey {
    let family = read!(context, family);
    let remote = address!(context, family, local_ip4, local_ip6);
    let local = address!(context, family, remote_ip4, remote_ip6);
    ProbeKey {
        remote,
        local,
        remote_port: read!(context, local_port) as u16,
        local_port: u32::from_be(read!(context, remote_port)) as u16,
    }
}
