//! The maps, and typed questions to them.
//!
//! In: keys. Out: answers. Owned by the kernel, pinned by name; user space writes all of them but
//! `PROBES`, `PROBE_SOCKETS` and `COUNTERS`. The names are those of `ambit_ebpf_common::names::map`.

use ambit_ebpf_common::Transport;
use ambit_ebpf_common::names::size;
use ambit_ebpf_common::{
    Address, CgroupEntry, Counter, Endpoint, Enrolled, ExcludedKey, ExcludedPorts, MAX_SLOTS,
    PodOptions, ProbeKey, Role, ports,
};
use aya_ebpf::helpers::generated::{
    bpf_get_current_ancestor_cgroup_id, bpf_map_lookup_elem, bpf_sk_release,
};
use aya_ebpf::macros::map;
use aya_ebpf::maps::lpm_trie::{Key, LpmTrie};
use aya_ebpf::maps::{Array, HashMap, LruHashMap, PerCpuArray, SockMap};
use aya_ebpf::programs::SkLookupContext;

/// `BPF_F_NO_PREALLOC`, which tries require.
const NO_PREALLOC: u32 = 1;

#[map]
static ENROLLED: HashMap<u64, Enrolled> = HashMap::pinned(MAX_SLOTS, 0);
#[map]
static POD_OPTIONS: Array<u32> = Array::pinned(MAX_SLOTS, 0);
#[map]
static EXEMPT: Array<CgroupEntry> = Array::pinned(size::EXEMPT, 0);
#[map]
static EXCLUDED: LpmTrie<ExcludedKey, ExcludedPorts> = LpmTrie::pinned(size::EXCLUDED, NO_PREALLOC);
#[map]
static LISTENERS: SockMap = SockMap::pinned(MAX_SLOTS * Role::STRIDE, 0);
#[map]
static POD_IPS: HashMap<Address, u32> = HashMap::pinned(size::POD_IPS, 0);
#[map]
static NS_INDEX: HashMap<u32, u32> = HashMap::pinned(size::NAMESERVERS, 0);
#[map]
static NS_ADDRESS: Array<u32> = Array::pinned(size::NAMESERVERS, 0);
#[map]
static KUBEPODS: Array<CgroupEntry> = Array::pinned(1, 0);
#[map]
static NODE_NETNS: HashMap<u64, u32> = HashMap::pinned(size::NODE_NETNS, 0);
#[map]
static PROBE_SOCKETS: LruHashMap<u64, u32> = LruHashMap::pinned(size::PROBES, 0);
#[map]
static PROBES: LruHashMap<ProbeKey, u32> = LruHashMap::pinned(size::PROBES, 0);
#[map]
static COUNTERS: PerCpuArray<u64> = PerCpuArray::pinned(Counter::COUNT, 0);

/// Adds one.
#[inline(always)]
pub(crate) fn count(counter: Counter) {
    if let Some(value) = COUNTERS.get_ptr_mut(counter as u32) {
        // SAFETY: this CPU's cell; a program is not interrupted by itself on one CPU in a way
        // that could do more than lose a count.
        unsafe { *value = (*value).wrapping_add(1) };
    }
}

/// Slot of the pod whose network namespace has this cookie.
#[inline(always)]
pub(crate) fn slot_of_netns(cookie: u64) -> Option<u32> {
    // SAFETY: read at once and copied; an entry replaced meanwhile is another valid entry.
    unsafe { ENROLLED.get(cookie) }.map(|enrolled| enrolled.slot)
}

/// Does the cookie belong to the node itself?
#[inline(always)]
pub(crate) fn is_node_netns(cookie: u64) -> bool {
    NODE_NETNS.get_ptr(cookie).is_some()
}

/// What the pod switched off.
#[inline(always)]
pub(crate) fn options(slot: u32) -> PodOptions {
    PodOptions::from_bits(POD_OPTIONS.get(slot).copied().unwrap_or(0))
}

/// Gives the connection to the pod's listener; false if there is none.
#[inline(always)]
pub(crate) fn assign_listener(context: &SkLookupContext, slot: u32, role: Role) -> bool {
    LISTENERS
        .redirect_sk_lookup(context, role.listener_of(slot), 0)
        .is_ok()
}

/// Has the pod a listener for the role? Works outside `sk_lookup` too.
#[inline(always)]
pub(crate) fn has_listener(slot: u32, role: Role) -> bool {
    let index = role.listener_of(slot);
    // SAFETY: the map's own address and a readable key; what is found is released at once.
    unsafe {
        let listener = bpf_map_lookup_elem(
            (&raw const LISTENERS).cast_mut().cast(),
            (&raw const index).cast(),
        );
        if listener.is_null() {
            return false;
        }
        bpf_sk_release(listener);
    }
    true
}

/// Slot of the pod that has this address.
#[inline(always)]
pub(crate) fn slot_of_address(address: &Address) -> Option<u32> {
    // SAFETY: read at once and copied.
    unsafe { POD_IPS.get(address) }.copied()
}

/// Is the running process below an exempt cgroup?
#[inline(always)]
pub(crate) fn is_exempt() -> bool {
    let mut index = 0;
    while index < size::EXEMPT {
        if let Some(entry) = EXEMPT.get(index)
            && below(entry)
        {
            return true;
        }
        index += 1;
    }
    false
}

/// Is the running process below the cgroup of the pods?
#[inline(always)]
pub(crate) fn in_kubepods() -> bool {
    KUBEPODS.get(0).is_some_and(below)
}

#[inline(always)]
fn below(entry: &CgroupEntry) -> bool {
    // SAFETY: a helper without pointers.
    entry.id != 0 && unsafe { bpf_get_current_ancestor_cgroup_id(entry.level as i32) } == entry.id
}

/// Is the destination excluded for the pod?
#[inline(always)]
pub(crate) fn is_excluded(slot: u32, destination: &Endpoint) -> bool {
    let key = Key::new(
        ExcludedKey::FULL,
        ExcludedKey {
            slot,
            address: destination.address,
        },
    );
    EXCLUDED
        .get(&key)
        .is_some_and(|ports| ports.contains(destination.port))
}

/// Index of the destination among the nameservers of this node.
#[inline(always)]
pub(crate) fn nameserver_index(transport: Transport, destination: &Endpoint) -> Option<u32> {
    if transport != Transport::Udp || destination.port != ports::PLAIN_DNS {
        return None;
    }
    let word = destination.address.as_v4()?;
    // SAFETY: read at once and copied.
    unsafe { NS_INDEX.get(word) }.copied()
}

/// Address of the nameserver with this index, one word in network order.
#[inline(always)]
pub(crate) fn nameserver_word(index: u32) -> Option<u32> {
    NS_ADDRESS.get(index).copied().filter(|word| *word != 0)
}

/// Remembers that the socket may dial a pod directly.
#[inline(always)]
pub(crate) fn allow_probe(socket: u64) {
    let _ = PROBE_SOCKETS.insert(socket, 1, 0);
}

/// Was the socket remembered? Forgets it.
#[inline(always)]
pub(crate) fn take_probe(socket: u64) -> bool {
    PROBE_SOCKETS.remove(socket).is_ok()
}

/// Remembers the connection; true if there was room, which an LRU map always finds.
#[inline(always)]
pub(crate) fn record_probe(key: &ProbeKey) -> bool {
    PROBES.insert(key, 1, 0).is_ok()
}

/// Did the node dial this connection?
#[inline(always)]
pub(crate) fn is_probe(key: &ProbeKey) -> bool {
    PROBES.get_ptr(key).is_some()
}
