//! Hooks of unconnected DNS: `sendmsg4/6`, and the way back: `recvmsg4/6`, `getpeername4/6`.
//!
//! In: a datagram's address. Out: the same, rewritten to the proxy or back to the nameserver the
//! application asked. The way back asks only the address, not whether the pod is still enrolled:
//! answers under way when a pod leaves keep their name. A query from an IPv6 socket to an
//! IPv4-mapped nameserver runs `sendmsg4`, its answer `recvmsg6`.

use crate::connect::facts;
use crate::context::{endpoint4, endpoint6, replace4, replace6, transport};
use crate::maps;
use crate::socket::ALLOW;
use ambit_ebpf_common::connect::decide;
use ambit_ebpf_common::Decision;
use ambit_ebpf_common::{Counter, Endpoint, dns, ports};
use aya_ebpf::bindings::bpf_sock_addr;
use aya_ebpf::helpers::generated::bpf_get_netns_cookie;
use aya_ebpf::macros::cgroup_sock_addr;
use aya_ebpf::programs::SockAddrContext;

#[cgroup_sock_addr(sendmsg4)]
fn ambit_sendmsg4(context: SockAddrContext) -> i32 {
    let context = context.sock_addr;
    if let Some(index) = send(context, endpoint4(context)) {
        replace4(context, dns::proxy_word(index), ports::DNS);
    }
    ALLOW
}

#[cgroup_sock_addr(sendmsg6)]
fn ambit_sendmsg6(context: SockAddrContext) -> i32 {
    let context = context.sock_addr;
    if let Some(index) = send(context, endpoint6(context)) {
        replace6(context, dns::proxy_word(index), ports::DNS);
    }
    ALLOW
}

#[cgroup_sock_addr(recvmsg4)]
fn ambit_recvmsg4(context: SockAddrContext) -> i32 {
    restore4(context.sock_addr)
}

#[cgroup_sock_addr(recvmsg6)]
fn ambit_recvmsg6(context: SockAddrContext) -> i32 {
    restore6(context.sock_addr)
}

#[cgroup_sock_addr(getpeername4)]
fn ambit_peername4(context: SockAddrContext) -> i32 {
    restore4(context.sock_addr)
}

#[cgroup_sock_addr(getpeername6)]
fn ambit_peername6(context: SockAddrContext) -> i32 {
    restore6(context.sock_addr)
}

/// Index to send a query to, if it is captured. Other datagrams leave at the first test.
#[inline(always)]
fn send(context: *mut bpf_sock_addr, destination: Endpoint) -> Option<u32> {
    if destination.port != ports::PLAIN_DNS {
        return None;
    }
    // SAFETY: the helper takes the hook's own context.
    let cookie = unsafe { bpf_get_netns_cookie(context.cast()) };
    let slot = maps::slot_of_netns(cookie)?;
    match decide(&facts(context, slot, transport(context), destination)) {
        Decision::RewriteDns(index) => {
            maps::count(Counter::DnsRewritten);
            Some(index)
        }
        Decision::Pass(counter) => {
            maps::count(counter);
            None
        }
        // Only connect captures; a datagram has no connection to mark.
        Decision::Capture { .. } => None,
    }
}

#[inline(always)]
fn restore4(context: *mut bpf_sock_addr) -> i32 {
    if let Some(word) = nameserver(&endpoint4(context)) {
        replace4(context, word, ports::PLAIN_DNS);
    }
    ALLOW
}

#[inline(always)]
fn restore6(context: *mut bpf_sock_addr) -> i32 {
    if let Some(word) = nameserver(&endpoint6(context)) {
        replace6(context, word, ports::PLAIN_DNS);
    }
    ALLOW
}

#[inline(always)]
fn nameserver(source: &Endpoint) -> Option<u32> {
    maps::nameserver_word(dns::index_of(source)?)
}
