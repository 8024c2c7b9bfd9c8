//! Addresses for generated Services: each name has a place in the block, by hash, and takes the
//! next free address from there. The same names and the same taken addresses give the same answer.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

/// A block with what is taken of it.
#[derive(Debug)]
pub(crate) struct AddressPool {
    first: u32,
    size: u32,
    taken: BTreeSet<IpAddr>,
}

impl AddressPool {
    pub(crate) fn new((first, prefix): (Ipv4Addr, u8), taken: BTreeSet<IpAddr>) -> Self {
        let size = 1_u32
            .checked_shl(32 - u32::from(prefix.clamp(1, 32)))
            .unwrap_or(1);
        Self {
            first: u32::from(first) & !(size - 1),
            size,
            taken,
        }
    }

    /// A free address for `name`, which is then taken; `None` when the block is full.
    pub(crate) fn take(&mut self, name: &str) -> Option<IpAddr> {
        let start = (crate::stable_hash::stable_hash(&[name]) % u64::from(self.size)) as u32;
        for step in 0..self.size {
            let offset = (u64::from(start) + u64::from(step)) % u64::from(self.size);
            let offset = offset as u32;
            // The network and broadcast addresses are nobody's.
            if self.size > 2 && (offset == 0 || offset == self.size - 1) {
                continue;
            }
            let ip = IpAddr::V4(Ipv4Addr::from(self.first + offset));
            if self.taken.insert(ip) {
                return Some(ip);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_stable_free_and_inside_the_block() {
        let block = (Ipv4Addr::new(10, 96, 128, 0), 29);
        let first = AddressPool::new(block, BTreeSet::new())
            .take("a/b")
            .unwrap();
        assert_eq!(
            AddressPool::new(block, BTreeSet::new()).take("a/b"),
            Some(first)
        );
        let mut pool = AddressPool::new(block, BTreeSet::from([first]));
        let mut seen = BTreeSet::from([first]);
        for i in 0..5 {
            let ip = pool.take(&format!("x/{i}")).unwrap();
            assert!(seen.insert(ip));
            let IpAddr::V4(v4) = ip else { panic!() };
            assert!(v4 > Ipv4Addr::new(10, 96, 128, 0) && v4 < Ipv4Addr::new(10, 96, 128, 7));
        }
        assert_eq!(pool.take("one/too-many"), None);
    }
}
