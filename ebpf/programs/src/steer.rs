//! Hook `sk_lookup`: connections that arrive in one pod, looped or from outside.
//!
//! In: a SYN for which the kernel looks for a listener. Out: the listener of the role, whatever it
//! is bound to; the kernel's own choice; or none, and the peer is refused. One instance per pod,
//! which differs in [`SLOT`] only. Established connections never come here.

use crate::context::{address, read};
use crate::maps;
use ambit_ebpf_common::steer::{Decision, Facts, decide};
use ambit_ebpf_common::{Counter, Endpoint, ProbeKey, Role};
use aya_ebpf::Global;
use aya_ebpf::bindings::bpf_sk_lookup;
use aya_ebpf::macros::sk_lookup;
use aya_ebpf::programs::SkLookupContext;

/// The slot this instance serves; the default has no listeners.
#[unsafe(no_mangle)]
pub(crate) static SLOT: Global<u32> = Global::new(u32::MAX);

const IPPROTO_TCP: u32 = 6;
const PASS: u32 = 1;
const DROP: u32 = 0;

#[sk_lookup]
fn ambit_steer(context: SkLookupContext) -> u32 {
    let lookup = context.lookup;
    if read!(lookup, protocol) != IPPROTO_TCP {
        return PASS;
    }
    let slot = SLOT.load();
    let facts = facts(lookup, slot);
    let decision = decide(
        &facts,
        |address| maps::slot_of_address(address) == Some(slot),
        |facts| maps::is_probe(&key(facts)),
    );
    match decision {
        Decision::Pass(counter) => {
            maps::count(counter);
            PASS
        }
        Decision::Refuse(counter) => {
            maps::count(counter);
            DROP
        }
        Decision::Assign(role) => assign(&context, slot, role),
        Decision::Rerouted => rerouted(&context, slot),
    }
}

#[inline(always)]
fn assign(context: &SkLookupContext, slot: u32, role: Role) -> u32 {
    let (counter, verdict) = if maps::assign_listener(context, slot, role) {
        let counter = match role {
            Role::Outbound => Counter::SteeredOutbound,
            Role::Inbound => Counter::SteeredInbound,
            Role::Hbone => Counter::SteeredHbone,
        };
        (counter, PASS)
    } else {
        (Counter::SlotEmpty, DROP)
    };
    maps::count(counter);
    verdict
}

/// Already counted, and asked about again for every packet whose connection is somebody else's.
#[inline(always)]
fn rerouted(context: &SkLookupContext, slot: u32) -> u32 {
    if maps::assign_listener(context, slot, Role::Outbound) {
        return PASS;
    }
    maps::count(Counter::SlotEmpty);
    DROP
}

/// `local_port` is in host order, `remote_port` big-endian.
#[inline(always)]
fn facts(lookup: *mut bpf_sk_lookup, slot: u32) -> Facts {
    let family = read!(lookup, family);
    let remote = address!(lookup, family, remote_ip4, remote_ip6);
    let local = address!(lookup, family, local_ip4, local_ip6);
    Facts {
        ifindex: read!(lookup, ingress_ifindex),
        remote: Endpoint {
            address: remote,
            port: u16::from_be(read!(lookup, remote_port)),
        },
        local: Endpoint {
            address: local,
            port: read!(lookup, local_port) as u16,
        },
        options: maps::options(slot),
    }
}

#[inline(always)]
fn key(facts: &Facts) -> ProbeKey {
    ProbeKey {
        remote: facts.remote.address,
        local: facts.local.address,
        remote_port: facts.remote.port,
        local_port: facts.local.port,
    }
}
