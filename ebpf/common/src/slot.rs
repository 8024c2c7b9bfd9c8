//! Which listener of which pod.
//!
//! In: a pod's slot and a role. Out: the index in the `LISTENERS` sockmap. Owns nothing; the
//! agent allots slots.

/// How many pods of one node can be enrolled at once.
pub const MAX_SLOTS: u32 = 4096;

/// The number of an enrolled pod on this node, below [`MAX_SLOTS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Slot(u32);

impl Slot {
    /// A slot, or `None` if `number` is not below [`MAX_SLOTS`].
    pub const fn new(number: u32) -> Option<Self> {
        if number < MAX_SLOTS {
            Some(Self(number))
        } else {
            None
        }
    }

    /// The number.
    #[inline(always)]
    pub const fn number(self) -> u32 {
        self.0
    }

    /// Index of this pod's listener for `role` in the `LISTENERS` sockmap.
    pub const fn listener(self, role: Role) -> u32 {
        role.listener_of(self.0)
    }
}

impl core::fmt::Display for Slot {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        self.0.fmt(f)
    }
}

/// What a listener in a pod is for.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Captured connections of the pod.
    Outbound = 0,
    /// Plaintext connections to the pod.
    Inbound = 1,
    /// HBONE tunnels to the pod.
    Hbone = 2,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 3] = [Self::Outbound, Self::Inbound, Self::Hbone];
    /// Sockmap entries reserved per slot.
    pub const STRIDE: u32 = 4;

    /// Index of the listener of the pod with slot `number`.
    #[inline(always)]
    pub const fn listener_of(self, number: u32) -> u32 {
        number * Self::STRIDE + self as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listener_has_an_index_of_its_own() {
        let mut seen = std::collections::BTreeSet::new();
        for number in 0..MAX_SLOTS {
            let slot = Slot::new(number).unwrap();
            for role in Role::ALL {
                assert!(seen.insert(slot.listener(role)));
            }
        }
        assert!(
            seen.into_iter()
                .all(|index| index < MAX_SLOTS * Role::STRIDE)
        );
        assert_eq!(Slot::new(MAX_SLOTS), None);
    }

    #[test]
    fn roles_have_the_numbers_the_sockmap_is_documented_with() {
        let slot = Slot::new(3).unwrap();
        assert_eq!(slot.listener(Role::Outbound), 12);
        assert_eq!(slot.listener(Role::Inbound), 13);
        assert_eq!(slot.listener(Role::Hbone), 14);
    }
}
