//! The pinned maps, typed.
//!
//! In: a loaded object. Out: reads and writes of single maps, each naming the map when it fails.
//! The kernel owns the contents; a lock per map only serialises this process's writers.

mod exempt;
mod listeners;
mod names_table;
mod pods;

use crate::error::{MapAccessError, OpenError};
use ambit_ebpf_common::names::map as name;
use ambit_ebpf_common::{CgroupEntry, Counter, Enrolled, ExcludedKey, ExcludedPorts};
use aya::Ebpf;
use aya::maps::{Array, HashMap, LpmTrie, Map, MapData, MapError, PerCpuArray, SockMap};
use std::sync::{Mutex, MutexGuard};

/// A struct of the kernel side as a map key or value.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub(crate) struct Plain<T>(pub(crate) T);

// SAFETY: `repr(C)` without padding and without invalid bit patterns, as the layout tests of
// `ambit-ebpf-common` prove for each of these.
unsafe impl aya::Pod for Plain<Enrolled> {}
// SAFETY: as above.
unsafe impl aya::Pod for Plain<CgroupEntry> {}
// SAFETY: as above.
unsafe impl aya::Pod for Plain<ExcludedKey> {}
// SAFETY: as above.
unsafe impl aya::Pod for Plain<ExcludedPorts> {}

/// Every map that user space reads or writes.
pub(crate) struct Maps {
    enrolled: Mutex<HashMap<MapData, u64, Plain<Enrolled>>>,
    pod_options: Mutex<Array<MapData, u32>>,
    exempt: Mutex<Array<MapData, Plain<CgroupEntry>>>,
    excluded: Mutex<LpmTrie<MapData, Plain<ExcludedKey>, Plain<ExcludedPorts>>>,
    listeners: Mutex<SockMap<MapData>>,
    pod_ips: Mutex<HashMap<MapData, [u32; 4], u32>>,
    ns_index: Mutex<HashMap<MapData, u32, u32>>,
    ns_address: Mutex<Array<MapData, u32>>,
    kubepods: Mutex<Array<MapData, Plain<CgroupEntry>>>,
    node_netns: Mutex<HashMap<MapData, u64, u32>>,
    counters: PerCpuArray<MapData, u64>,
}

impl Maps {
    /// Takes the maps out of a loaded object.
    pub(crate) fn take(object: &mut Ebpf) -> Result<Self, OpenError> {
        Ok(Self {
            enrolled: Mutex::new(take(object, name::ENROLLED)?),
            pod_options: Mutex::new(take(object, name::POD_OPTIONS)?),
            exempt: Mutex::new(take(object, name::EXEMPT)?),
            excluded: Mutex::new(take(object, name::EXCLUDED)?),
            listeners: Mutex::new(take(object, name::LISTENERS)?),
            pod_ips: Mutex::new(take(object, name::POD_IPS)?),
            ns_index: Mutex::new(take(object, name::NS_INDEX)?),
            ns_address: Mutex::new(take(object, name::NS_ADDRESS)?),
            kubepods: Mutex::new(take(object, name::KUBEPODS)?),
            node_netns: Mutex::new(take(object, name::NODE_NETNS)?),
            counters: take(object, name::COUNTERS)?,
        })
    }

    /// Sums over all CPUs, in the order of [`Counter::ALL`].
    pub(crate) fn counters(&self) -> Result<Vec<(Counter, u64)>, MapAccessError> {
        Counter::ALL
            .iter()
            .map(|counter| {
                let values = self
                    .counters
                    .get(&(*counter as u32), 0)
                    .map_err(failed(name::COUNTERS, "read"))?;
                Ok((*counter, values.iter().copied().fold(0, u64::wrapping_add)))
            })
            .collect()
    }
}

fn take<T>(object: &mut Ebpf, map: &'static str) -> Result<T, OpenError>
where
    T: TryFrom<Map, Error = MapError>,
{
    let missing = || OpenError::Layout {
        map,
        what: "the object does not define it".to_owned(),
    };
    object
        .take_map(map)
        .ok_or_else(missing)?
        .try_into()
        .map_err(|error: MapError| OpenError::Layout {
            map,
            what: error.to_string(),
        })
}

fn lock<T>(map: &Mutex<T>) -> MutexGuard<'_, T> {
    map.lock().expect("no code panics while it holds this lock")
}

fn failed(map: &'static str, action: &'static str) -> impl Fn(MapError) -> MapAccessError {
    move |source| MapAccessError {
        map,
        action,
        source,
    }
}

/// Removing what is not there is no error.
fn removed(result: Result<(), MapError>) -> Result<(), MapError> {
    match result {
        Err(error) if is_absent(&error) => Ok(()),
        result => result,
    }
}

/// Hash maps answer ENOENT, sockmaps EINVAL.
fn is_absent(error: &MapError) -> bool {
    match error {
        MapError::KeyNotFound | MapError::ElementNotFound => true,
        MapError::SyscallError(error) => matches!(
            error.io_error.raw_os_error(),
            Some(libc::ENOENT | libc::EINVAL)
        ),
        _ => false,
    }
}
