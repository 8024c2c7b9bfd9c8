//! Hooks `connect4` and `connect6`: TCP and connected UDP sockets.
//!
//! In: a socket about to connect. Out: it is marked, sent to the DNS server, left alone, or
//! refused. Attached to the cgroup root, so most sockets are not ours: two lookups, and out.

use crate::context::{device_and_mark, endpoint4, endpoint6, replace4, replace6, transport};
use crate::maps;
use crate::socket::{ALLOW, clear_device, refuse, set_mark};
use ambit_ebpf_common::connect::decide;
use ambit_ebpf_common::{Decision, Facts, Transport};
use ambit_ebpf_common::{Counter, Endpoint, Role, dns, ports};
use aya_ebpf::bindings::bpf_sock_addr;
use aya_ebpf::helpers::generated::{bpf_get_netns_cookie, bpf_get_socket_cookie};
use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;

type Replace = fn(*mut bpf_sock_addr, u32, u16);

#[cgroup_sock_addr(connect4)]
fn ambit_connect4(context: SockAddrContext) -> i32 {
    let context = context.sock_addr;
    connect(context, endpoint4(context), replace4)
}

#[cgroup_sock_addr(connect6)]
fn ambit_connect6(context: SockAddrContext) -> i32 {
    let context = context.sock_addr;
    connect(context, endpoint6(context), replace6)
}

#[inline(always)]
fn connect(context: *mut bpf_sock_addr, destination: Endpoint, replace: Replace) -> i32 {
    // SAFETY: the helper takes the hook's own context.
    let cookie = unsafe { bpf_get_netns_cookie(context.cast()) };
    let transport = transport(context);
    let Some(slot) = maps::slot_of_netns(cookie) else {
        remember_probe(context, cookie, transport, &destination);
        return ALLOW;
    };
    match decide(&facts(context, slot, transport, destination)) {
        Decision::Pass(counter) => {
            maps::count(counter);
            ALLOW
        }
        Decision::RewriteDns(index) => {
            maps::count(Counter::DnsRewritten);
            replace(context, dns::proxy_word(index), ports::DNS);
            ALLOW
        }
        Decision::Capture {
            clear_device,
            replaces_mark,
        } => capture(context, slot, clear_device, replaces_mark),
    }
}

/// Everything the decision depends on. Also used for unconnected queries.
#[inline(always)]
pub(crate) fn facts(
    context: *mut bpf_sock_addr,
    slot: u32,
    transport: Transport,
    destination: Endpoint,
) -> Facts {
    let (device, mark) = device_and_mark(context);
    Facts {
        transport,
        destination,
        exempt: maps::is_exempt(),
        excluded: transport == Transport::Tcp && maps::is_excluded(slot, &destination),
        bound_device: device != 0,
        marked: mark != 0,
        plain_dns: maps::options(slot).plain_dns,
        nameserver: maps::nameserver_index(transport, &destination),
    }
}

/// Without a listener the connection is refused here: the looped SYN would be dropped, and no
/// reset can come from an address that is not the pod's.
#[inline(always)]
fn capture(context: *mut bpf_sock_addr, slot: u32, unbind: bool, replaces_mark: bool) -> i32 {
    if !maps::has_listener(slot, Role::Outbound) {
        maps::count(Counter::SlotEmpty);
        return refuse();
    }
    if unbind {
        if !clear_device(context) {
            maps::count(Counter::SetsockoptFailed);
            return refuse();
        }
        maps::count(Counter::DeviceCleared);
    }
    if !set_mark(context) {
        maps::count(Counter::SetsockoptFailed);
        return refuse();
    }
    if replaces_mark {
        maps::count(Counter::MarkReplaced);
    }
    maps::count(Counter::Captured);
    ALLOW
}

/// Whether a socket is a probe is decided here, where the process is known on every kernel; its
/// ports are known only in `probe`.
#[inline(always)]
fn remember_probe(
    context: *mut bpf_sock_addr,
    cookie: u64,
    transport: Transport,
    destination: &Endpoint,
) {
    if transport == Transport::Tcp
        && maps::is_node_netns(cookie)
        && maps::slot_of_address(&destination.address).is_some()
        && !maps::in_kubepods()
    {
        // SAFETY: the helper takes the hook's own context.
        maps::allow_probe(unsafe { bpf_get_socket_cookie(context.cast()) });
    }
}
