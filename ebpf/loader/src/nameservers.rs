//! Which nameserver has which index.
//!
//! In: the table as it is and the nameservers wanted. Out: the changes. Pure. An index that an
//! answer under way may still name is given to another server only when no unused one is left.

use ambit_ebpf_common::names::size;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// The table in the kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Table {
    /// Nameservers whose queries are captured.
    pub(crate) active: BTreeMap<Ipv4Addr, u32>,
    /// Index → the nameserver it last stood for.
    pub(crate) names: BTreeMap<u32, Ipv4Addr>,
}

/// What to write.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Captured from now on.
    pub(crate) add: Vec<(Ipv4Addr, u32)>,
    /// No longer captured; the index keeps its name.
    pub(crate) remove: Vec<Ipv4Addr>,
}

impl Table {
    /// The changes that make exactly `wanted` active, or the nameserver that has no room.
    pub(crate) fn changes(&self, wanted: &[Ipv4Addr]) -> Result<Changes, Ipv4Addr> {
        let wanted: BTreeSet<_> = wanted.iter().copied().collect();
        let mut changes = Changes {
            add: Vec::new(),
            remove: self
                .active
                .keys()
                .filter(|address| !wanted.contains(address))
                .copied()
                .collect(),
        };
        let mut used: BTreeSet<u32> = self
            .active
            .iter()
            .filter(|(address, _)| wanted.contains(address))
            .map(|(_, index)| *index)
            .collect();
        for address in wanted {
            if self.active.contains_key(&address) {
                continue;
            }
            let index = self.index_for(address, &used).ok_or(address)?;
            used.insert(index);
            changes.add.push((address, index));
        }
        Ok(changes)
    }

    fn index_for(&self, address: Ipv4Addr, used: &BTreeSet<u32>) -> Option<u32> {
        let free = || (1..size::NAMESERVERS).filter(|index| !used.contains(index));
        free()
            .find(|index| self.names.get(index) == Some(&address))
            .or_else(|| free().find(|index| !self.names.contains_key(index)))
            .or_else(|| free().next())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn apply(table: &mut Table, wanted: &[Ipv4Addr]) {
        let changes = table.changes(wanted).unwrap();
        for address in changes.remove {
            table.active.remove(&address);
        }
        for (address, index) in changes.add {
            table.active.insert(address, index);
            table.names.insert(index, address);
        }
    }

    fn ip(n: u32) -> Ipv4Addr {
        Ipv4Addr::from(0x0a00_0000 + n)
    }

    #[test]
    fn an_index_stays_with_its_nameserver() {
        let mut table = Table::default();
        apply(&mut table, &[ip(2), ip(1)]);
        let before = table.active.clone();
        apply(&mut table, &[ip(3), ip(2), ip(1), ip(1)]);
        assert_eq!(table.active[&ip(1)], before[&ip(1)]);
        assert_eq!(table.active[&ip(2)], before[&ip(2)]);
        apply(&mut table, &[ip(3)]);
        apply(&mut table, &[ip(2), ip(3)]);
        assert_eq!(
            table.active[&ip(2)],
            before[&ip(2)],
            "it comes back to its own"
        );
    }

    #[test]
    fn a_used_index_is_given_away_last() {
        let mut table = Table::default();
        apply(&mut table, &[ip(1)]);
        let first = table.active[&ip(1)];
        apply(&mut table, &[ip(2)]);
        assert_ne!(table.active[&ip(2)], first);
        let all: Vec<_> = (10..10 + size::NAMESERVERS - 1).map(ip).collect();
        apply(&mut table, &all);
        let indices: BTreeSet<_> = table.active.values().copied().collect();
        assert_eq!(indices, (1..size::NAMESERVERS).collect());
    }

    #[test]
    fn too_many_nameservers_name_the_one_without_room() {
        let all: Vec<_> = (1..=size::NAMESERVERS).map(ip).collect();
        assert_eq!(Table::default().changes(&all), Err(ip(size::NAMESERVERS)));
    }
}
