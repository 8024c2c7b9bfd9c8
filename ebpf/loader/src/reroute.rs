//! Reroute instances, one per virtual interface of a pod that names some.
//!
//! In: a slot and interfaces. Out: links pinned as `reroute/<slot>-<interface index>`. The kernel
//! detaches a program with its interface; such a link is removed when it is met.

use crate::error::SteerError;
use crate::instance;
use crate::object::ObjectLoader;
use crate::pins::{self, Pins};
use crate::sys::{self, AttachType, Target};
use ambit_ebpf_common::Slot;
use ambit_ebpf_common::names::program::REROUTE;
use aya::programs::SchedClassifier;
use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// Makes `wanted` the interfaces of the slot that have the program. To be called inside the pod's
/// network namespace, where the indices count.
pub(crate) fn set(
    loader: &ObjectLoader,
    pins: &Pins,
    slot: Slot,
    wanted: &BTreeSet<u32>,
) -> Result<(), SteerError> {
    let there = of_slot(pins, slot)?;
    for surplus in there.difference(wanted) {
        detach(pins, slot, *surplus)?;
    }
    let missing: Vec<u32> = wanted.difference(&there).copied().collect();
    if missing.is_empty() {
        return Ok(());
    }
    let program = load(loader, slot)?;
    for interface in missing {
        let target = Target::Interface(interface);
        let link = sys::link_create(program.as_fd(), target, AttachType::TcxIngress, 0);
        let link = link.map_err(|source| match source.raw_os_error() {
            Some(libc::EINVAL) => SteerError::NoTcx(source),
            _ => failed(slot, "create")(source),
        })?;
        sys::pin(link.as_fd(), &pins.reroute(slot, interface)).map_err(failed(slot, "pin"))?;
    }
    Ok(())
}

/// Detaches every program of the slot.
pub(crate) fn clear(pins: &Pins, slot: Slot) -> Result<(), SteerError> {
    for interface in of_slot(pins, slot)? {
        detach(pins, slot, interface)?;
    }
    Ok(())
}

/// Puts this build's program behind every live link. Where that fails the old program stays, which
/// still takes connections; the failure is logged.
pub(crate) fn refresh(loader: &ObjectLoader, pins: &Pins) -> Result<(), SteerError> {
    for (slot, interface) in live(pins)? {
        if let Err(error) = refresh_one(loader, pins, slot, interface) {
            tracing::warn!(
                slot = slot.number(),
                interface,
                error = &error as &dyn std::error::Error,
                "reroute link keeps its program"
            );
        }
    }
    Ok(())
}

fn refresh_one(
    loader: &ObjectLoader,
    pins: &Pins,
    slot: Slot,
    interface: u32,
) -> Result<(), SteerError> {
    let program = load(loader, slot)?;
    let link = pins::open(&pins.reroute(slot, interface)).map_err(failed(slot, "open"))?;
    match link {
        Some(link) => {
            sys::link_update(link.as_fd(), program.as_fd()).map_err(failed(slot, "update"))
        }
        None => Ok(()),
    }
}

fn of_slot(pins: &Pins, slot: Slot) -> Result<BTreeSet<u32>, SteerError> {
    let all = live(pins)?.into_iter();
    Ok(all
        .filter(|(of, _)| *of == slot)
        .map(|(_, interface)| interface)
        .collect())
}

/// Slot and interface of every live link. Removes the others.
fn live(pins: &Pins) -> Result<Vec<(Slot, u32)>, SteerError> {
    let mut live = Vec::new();
    for path in pins::entries(&pins.reroutes()).map_err(SteerError::List)? {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let (slot, interface) = named(&name).ok_or_else(|| SteerError::Name {
            name: name.clone().into_owned(),
        })?;
        let Some(link) = pins::open(&path).map_err(failed(slot, "open"))? else {
            continue;
        };
        let target = sys::link_target(link.as_fd()).map_err(failed(slot, "inspect"))?;
        if target.interface() == interface {
            live.push((slot, interface));
        } else {
            detach(pins, slot, interface)?;
        }
    }
    Ok(live)
}

fn named(name: &str) -> Option<(Slot, u32)> {
    let (slot, interface) = name.split_once('-')?;
    Some((Slot::new(slot.parse().ok()?)?, interface.parse().ok()?))
}

fn detach(pins: &Pins, slot: Slot, interface: u32) -> Result<(), SteerError> {
    pins::remove_link(&pins.reroute(slot, interface)).map_err(failed(slot, "remove"))
}

fn load(loader: &ObjectLoader, slot: Slot) -> Result<OwnedFd, SteerError> {
    instance::load(loader, slot, REROUTE, |program| {
        let program: &mut SchedClassifier = program.try_into()?;
        program.load()?;
        instance::descriptor(program.fd()?)
    })
}

fn failed(slot: Slot, action: &'static str) -> impl FnOnce(io::Error) -> SteerError {
    instance::failed(REROUTE, slot, action)
}
