//! Keys and values of the maps.
//!
//! Both sides read the same bytes: `repr(C)`, native byte order unless said otherwise, no padding
//! (the layout tests fail otherwise). Owns nothing.

use crate::address::Address;

/// Value of `ENROLLED`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enrolled {
    /// The pod's slot.
    pub slot: u32,
    /// Zero.
    pub reserved: u32,
}

/// A cgroup and everything below it: the ancestor of a process at `level` has this `id`.
/// An `id` of zero is an empty entry.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CgroupEntry {
    /// The cgroup's id (`bpf_get_current_ancestor_cgroup_id`).
    pub id: u64,
    /// Its depth; the root has 0.
    pub level: u32,
    /// Zero.
    pub reserved: u32,
}

impl CgroupEntry {
    /// An entry that matches nothing.
    pub const EMPTY: Self = Self {
        id: 0,
        level: 0,
        reserved: 0,
    };
}

/// Key of `PROBES`, as the pod sees the connection.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeKey {
    /// The node's address.
    pub remote: Address,
    /// The pod's address.
    pub local: Address,
    /// The node's port, host order.
    pub remote_port: u16,
    /// The pod's port, host order.
    pub local_port: u16,
}

/// Data of an `EXCLUDED` key; the prefix length counts the 32 bits of the slot too.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExcludedKey {
    /// The pod's slot.
    pub slot: u32,
    /// The destination.
    pub address: Address,
}

impl ExcludedKey {
    /// Prefix length that matches one address of one pod.
    pub const FULL: u32 = 32 + 128;

    /// Prefix length for `bits` of an address of a family with `of` bits (32 or 128).
    pub const fn prefix_length(bits: u32, of: u32) -> u32 {
        Self::FULL - of + bits
    }
}

/// How many ports one excluded prefix can name.
pub const EXCLUDED_PORTS: usize = 8;

/// Value of `EXCLUDED`: the ports that are not captured, host order; all zero means every port.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ExcludedPorts {
    /// Ports, zero where unused.
    pub ports: [u16; EXCLUDED_PORTS],
}

impl ExcludedPorts {
    /// Is `port` left alone?
    #[inline(always)]
    pub fn contains(&self, port: u16) -> bool {
        if self.ports[0] == 0 {
            return true;
        }
        // Leaves at the first match: every value carried on would double the verifier's paths.
        let mut index = 0;
        while index < EXCLUDED_PORTS && self.ports[index] != 0 {
            if self.ports[index] == port {
                return true;
            }
            index += 1;
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::mem::{align_of, offset_of, size_of};

    #[test]
    fn layouts_have_no_padding_and_do_not_move() {
        assert_eq!(size_of::<Address>(), 16);
        assert_eq!((size_of::<Enrolled>(), offset_of!(Enrolled, slot)), (8, 0));
        assert_eq!(
            (size_of::<CgroupEntry>(), align_of::<CgroupEntry>()),
            (16, 8)
        );
        assert_eq!(offset_of!(CgroupEntry, level), 8);
        assert_eq!((size_of::<ProbeKey>(), align_of::<ProbeKey>()), (36, 4));
        assert_eq!(offset_of!(ProbeKey, local), 16);
        assert_eq!(offset_of!(ProbeKey, remote_port), 32);
        assert_eq!(offset_of!(ProbeKey, local_port), 34);
        assert_eq!(size_of::<ExcludedKey>(), 20);
        assert_eq!(offset_of!(ExcludedKey, address), 4);
        assert_eq!(size_of::<ExcludedPorts>(), 16);
    }

    #[test]
    fn prefixes_count_the_slot_and_the_mapping() {
        assert_eq!(ExcludedKey::prefix_length(32, 32), ExcludedKey::FULL);
        assert_eq!(ExcludedKey::prefix_length(8, 32), 32 + 96 + 8);
        assert_eq!(ExcludedKey::prefix_length(64, 128), 32 + 64);
    }

    #[test]
    fn no_port_means_every_port() {
        let mut excluded = ExcludedPorts { ports: [0; 8] };
        assert!(excluded.contains(80));
        excluded.ports[0] = 443;
        assert!(excluded.contains(443));
        assert!(!excluded.contains(80));
        assert!(!excluded.contains(0));
    }
}
