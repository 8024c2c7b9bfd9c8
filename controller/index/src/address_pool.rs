//! Addresses for generated Services: each name has a place in the block, by hash, and takes the
//! next free address from there. The same names and the same taken addresses give the same answer.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A block with what is taken of it.
#[derive(Debug)]
pub(crate) struct AddressPool {
    first: IpAddr,
    size: u32,
    taken: BTreeSet<IpAddr>,
}

impl AddressPool {
    /// A block by any address in it and its prefix length. Of a block of more than 2^31 addresses only that
    /// many are used.
    pub(crate) fn new((address, prefix): (IpAddr, u8), taken: BTreeSet<IpAddr>) -> Self {
        let bits = if address.is_ipv4() { 32_u32 } else { 128 };
        let host_bits = bits.saturating_sub(u32::from(prefix)).min(31);
        let size = 1_u32 << host_bits;
        let mask = u128::from(size - 1);
        let first = match address {
            IpAddr::V4(ip) => Ipv4Addr::from(u32::from(ip) & !(size - 1)).into(),
            IpAddr::V6(ip) => Ipv6Addr::from(u128::from(ip) & !mask).into(),
        };
        Self { first, size, taken }
    }

    /// Whether an address is of the block's family.
    pub(crate) fn is_of_family(&self, ip: IpAddr) -> bool {
        ip.is_ipv4() == self.first.is_ipv4()
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
            let ip = match self.first {
                IpAddr::V4(first) => Ipv4Addr::from(u32::from(first) + offset).into(),
                IpAddr::V6(first) => Ipv6Addr::from(u128::from(first) + u128::from(offset)).into(),
            };
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
        let block = (Ipv4Addr::new(10, 96, 128, 0).into(), 29);
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

    #[test]
    fn a_block_of_ipv6_gives_addresses_inside_it() {
        let block: IpAddr = "fd00:10:96::8000:0".parse().unwrap();
        let mut pool = AddressPool::new((block, 112), BTreeSet::new());
        for name in ["a/b", "a/c", "b/a"] {
            let ip = pool.take(name).unwrap();
            assert!(ip.to_string().starts_with("fd00:10:96::8000:"), "{ip}");
            assert!(pool.is_of_family(ip));
        }
        assert!(!pool.is_of_family([10, 0, 0, 1].into()));
    }
}
