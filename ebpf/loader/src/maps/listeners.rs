//! Listeners of pods.
//!
//! In: listening sockets. Out: entries of `LISTENERS`. The map holds no reference that keeps a
//! socket alive: when the last descriptor closes, the entry is gone and connections are refused.

use super::{Maps, failed, lock, removed};
use crate::error::MapAccessError;
use ambit_ebpf_common::names::map as name;
use ambit_ebpf_common::{Role, Slot};
use std::os::fd::BorrowedFd;

impl Maps {
    /// Puts the listener (any member of a SO_REUSEPORT group) into the slot.
    pub(crate) fn set_listener(
        &self,
        slot: Slot,
        role: Role,
        listener: BorrowedFd<'_>,
    ) -> Result<(), MapAccessError> {
        lock(&self.listeners)
            .set(slot.listener(role), &listener, 0)
            .map_err(failed(name::LISTENERS, "write"))
    }

    /// Empties the slot.
    pub(crate) fn clear_listener(&self, slot: Slot, role: Role) -> Result<(), MapAccessError> {
        removed(lock(&self.listeners).clear_index(&slot.listener(role)))
            .map_err(failed(name::LISTENERS, "delete from"))
    }
}
