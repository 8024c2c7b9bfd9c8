//! Instances of programs that serve one pod.
//!
//! In: a slot and a program's name. Out: its descriptor, accepted by the verifier.

use crate::error::SteerError;
use crate::object::ObjectLoader;
use ambit_ebpf_common::Slot;
use aya::programs::{Program, ProgramError, ProgramFd};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// Loads the program that serves `slot`; `accept` loads it as what it is.
pub(crate) fn load(
    loader: &ObjectLoader,
    slot: Slot,
    program: &'static str,
    accept: impl FnOnce(&mut Program) -> Result<OwnedFd, ProgramError>,
) -> Result<OwnedFd, SteerError> {
    let mut object = loader.instance(slot).map_err(|source| SteerError::Object {
        program,
        slot,
        source: Box::new(source),
    })?;
    object
        .program_mut(program)
        .ok_or(ProgramError::UnexpectedProgramType)
        .and_then(accept)
        .map_err(|source| SteerError::Program {
            program,
            slot,
            source: Box::new(source),
        })
}

/// A descriptor that outlives the object.
pub(crate) fn descriptor(fd: &ProgramFd) -> Result<OwnedFd, ProgramError> {
    let fd = fd.as_fd().try_clone_to_owned();
    fd.map_err(ProgramError::IOError)
}

/// An error of a link of `program`.
pub(crate) fn failed(
    program: &'static str,
    slot: Slot,
    action: &'static str,
) -> impl FnOnce(io::Error) -> SteerError {
    move |source| SteerError::Link {
        program,
        slot,
        action,
        source,
    }
}
