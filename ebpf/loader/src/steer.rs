//! Steer instances, one per pod.
//!
//! In: a slot and its network namespace. Out: a link pinned as `steer/<slot>`. The instance differs
//! from others in its slot only. A link whose namespace is gone is removed when it is met.

use crate::error::SteerError;
use crate::instance;
use crate::object::ObjectLoader;
use crate::pins::{self, Pins};
use crate::sys::{self, AttachType, Target};
use ambit_ebpf_common::Slot;
use ambit_ebpf_common::names::program::STEER;
use aya::programs::SkLookup;
use nix::sys::stat::fstat;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Attaches, or updates in place when the slot's link is in that namespace already.
pub(crate) fn attach(
    loader: &ObjectLoader,
    pins: &Pins,
    slot: Slot,
    netns: BorrowedFd<'_>,
) -> Result<(), SteerError> {
    let program = load(loader, slot)?;
    let pin = pins.steer(slot);
    let inode = fstat(netns)
        .map_err(|errno| failed(slot, "identify the namespace of")(errno.into()))?
        .st_ino;
    if let Some(link) = pins::open(&pin).map_err(failed(slot, "open"))? {
        let target = sys::link_target(link.as_fd()).map_err(failed(slot, "inspect"))?;
        if u64::from(target.netns_inode()) == inode {
            return sys::link_update(link.as_fd(), program.as_fd()).map_err(failed(slot, "update"));
        }
        detach(pins, slot)?;
    }
    let link = sys::link_create(program.as_fd(), Target::Fd(netns), AttachType::SkLookup, 0)
        .map_err(failed(slot, "create"))?;
    sys::pin(link.as_fd(), &pin).map_err(failed(slot, "pin"))
}

/// Detaches and unpins; nothing happens if there is no link.
pub(crate) fn detach(pins: &Pins, slot: Slot) -> Result<(), SteerError> {
    pins::remove_link(&pins.steer(slot)).map_err(failed(slot, "remove"))
}

/// Slots with a live link. Removes the others.
pub(crate) fn live(pins: &Pins) -> Result<Vec<Slot>, SteerError> {
    let mut slots = Vec::new();
    for path in pins::entries(&pins.steers()).map_err(SteerError::List)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let slot = name
            .parse()
            .ok()
            .and_then(Slot::new)
            .ok_or_else(|| SteerError::Name {
                name: name.into_owned(),
            })?;
        match target(pins, slot)? {
            Some(_) => slots.push(slot),
            None => detach(pins, slot)?,
        }
    }
    slots.sort();
    Ok(slots)
}

/// Inode of the namespace the slot's link is in; `None` if there is no link or no namespace.
pub(crate) fn target(pins: &Pins, slot: Slot) -> Result<Option<u32>, SteerError> {
    let Some(link) = pins::open(&pins.steer(slot)).map_err(failed(slot, "open"))? else {
        return Ok(None);
    };
    let target = sys::link_target(link.as_fd()).map_err(failed(slot, "inspect"))?;
    Ok(Some(target.netns_inode()).filter(|inode| *inode != 0))
}

/// Puts this build's program behind every live link. Where that fails the old program stays, which
/// still captures; the failure is logged.
pub(crate) fn refresh(loader: &ObjectLoader, pins: &Pins) -> Result<(), SteerError> {
    for slot in live(pins)? {
        if let Err(error) = refresh_one(loader, pins, slot) {
            tracing::warn!(
                slot = slot.number(),
                error = &error as &dyn std::error::Error,
                "steer link keeps its program"
            );
        }
    }
    Ok(())
}

fn refresh_one(loader: &ObjectLoader, pins: &Pins, slot: Slot) -> Result<(), SteerError> {
    let program = load(loader, slot)?;
    let Some(link) = pins::open(&pins.steer(slot)).map_err(failed(slot, "open"))? else {
        return Ok(());
    };
    sys::link_update(link.as_fd(), program.as_fd()).map_err(failed(slot, "update"))
}

fn load(loader: &ObjectLoader, slot: Slot) -> Result<OwnedFd, SteerError> {
    instance::load(loader, slot, STEER, |program| {
        let program: &mut SkLookup = program.try_into()?;
        program.load()?;
        instance::descriptor(program.fd()?)
    })
}

fn failed(slot: Slot, action: &'static str) -> impl FnOnce(io::Error) -> SteerError {
    instance::failed(STEER, slot, action)
}
