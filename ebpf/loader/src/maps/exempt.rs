//! Cgroups that are never captured, and the cgroup whose sockets are no probes.
//!
//! In: cgroups. Out: entries of `EXEMPT` and `KUBEPODS`. A cgroup that stays exempt keeps its
//! entry, and new ones are written before old ones go: the proxy is never captured in between.

use super::{Maps, Plain, failed, lock};
use crate::cgroup::CgroupRef;
use crate::error::{ExemptError, MapAccessError};
use ambit_ebpf_common::CgroupEntry;
use ambit_ebpf_common::names::{map as name, size};

impl Maps {
    /// Replaces the exempt cgroups.
    pub(crate) fn set_exempt(&self, cgroups: &[CgroupRef]) -> Result<(), ExemptError> {
        let mut map = lock(&self.exempt);
        let current = map
            .iter()
            .map(|entry| entry.map(|Plain(entry)| entry))
            .collect::<Result<Vec<_>, _>>()
            .map_err(failed(name::EXEMPT, "read"))?;
        let wanted: Vec<_> = cgroups.iter().copied().map(entry).collect();
        let writes = writes(&current, &wanted).ok_or(ExemptError::TooMany {
            given: cgroups.len(),
            most: size::EXEMPT,
        })?;
        for (index, entry) in writes {
            map.set(index, Plain(entry), 0)
                .map_err(failed(name::EXEMPT, "write"))?;
        }
        Ok(())
    }

    /// Cgroup of all pods; without one every socket of the node may be a probe.
    pub(crate) fn set_kubepods(&self, kubepods: Option<CgroupRef>) -> Result<(), MapAccessError> {
        let entry = kubepods.map_or(CgroupEntry::EMPTY, entry);
        lock(&self.kubepods)
            .set(0, Plain(entry), 0)
            .map_err(failed(name::KUBEPODS, "write"))
    }
}

fn entry(cgroup: CgroupRef) -> CgroupEntry {
    CgroupEntry {
        id: cgroup.id,
        level: cgroup.level,
        reserved: 0,
    }
}

/// What to write where, in this order; `None` if it does not fit.
fn writes(current: &[CgroupEntry], wanted: &[CgroupEntry]) -> Option<Vec<(u32, CgroupEntry)>> {
    let is_empty = |entry: &CgroupEntry| entry.id == 0;
    let mut new: Vec<CgroupEntry> = Vec::new();
    for entry in wanted {
        if !current.contains(entry) && !new.contains(entry) {
            new.push(*entry);
        }
    }
    let mut places: Vec<_> = (0_u32..)
        .zip(current)
        .filter(|(_, entry)| !wanted.contains(entry))
        .collect();
    // Empty places first, so that as few entries as possible change their meaning.
    places.sort_by_key(|(_, entry)| !is_empty(entry));
    if new.len() > places.len() {
        return None;
    }
    let cleared = places[new.len()..]
        .iter()
        .filter(|(_, entry)| !is_empty(entry))
        .map(|(index, _)| (*index, CgroupEntry::EMPTY));
    let written = places.iter().zip(&new);
    Some(
        written
            .map(|((index, _), entry)| (*index, *entry))
            .chain(cleared)
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cgroup(id: u64) -> CgroupEntry {
        CgroupEntry {
            id,
            level: 2,
            reserved: 0,
        }
    }

    fn after(current: &[CgroupEntry], writes: &[(u32, CgroupEntry)]) -> Vec<u64> {
        let mut all = current.to_vec();
        for (index, entry) in writes {
            all[*index as usize] = *entry;
        }
        let mut ids: Vec<_> = all.iter().map(|entry| entry.id).collect();
        ids.retain(|id| *id != 0);
        ids.sort_unstable();
        ids
    }

    #[test]
    fn an_entry_that_stays_is_not_touched() {
        let current = [cgroup(1), cgroup(2), CgroupEntry::EMPTY];
        let writes = writes(&current, &[cgroup(3), cgroup(1)]).unwrap();
        assert_eq!(writes, [(2, cgroup(3)), (1, CgroupEntry::EMPTY)]);
        assert_eq!(after(&current, &writes), [1, 3]);
    }

    #[test]
    fn a_full_table_can_be_exchanged_but_not_exceeded() {
        let current = [cgroup(1), cgroup(2)];
        let all = writes(&current, &[cgroup(3), cgroup(4)]).unwrap();
        assert_eq!(after(&current, &all), [3, 4]);
        assert_eq!(writes(&current, &[cgroup(3), cgroup(4), cgroup(5)]), None);
    }

    #[test]
    fn nothing_to_change_writes_nothing_and_twice_is_once() {
        let current = [cgroup(1), CgroupEntry::EMPTY];
        assert_eq!(writes(&current, &[cgroup(1)]), Some(Vec::new()));
        let twice = [cgroup(2), cgroup(1), cgroup(2)];
        assert_eq!(writes(&current, &twice), Some(vec![(1, cgroup(2))]));
    }
}
