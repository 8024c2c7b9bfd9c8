//! Programs attached to the cgroup.
//!
//! In: a loaded object, the cgroup, the pins. Out: each hook has exactly one pinned link to this
//! build's program. A link found is updated in place, so that no connection slips through.

use crate::error::OpenError;
use crate::pins::{self, Pins};
use crate::sys::{self, AttachType, BPF_F_BEFORE, Target};
use ambit_ebpf_common::names::program as name;
use aya::Ebpf;
use aya::programs::{CgroupSockAddr, Program, ProgramError, SockOps};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

/// Every hook. The order is that of attaching: the way back of DNS works before the way there.
const HOOKS: [(&str, AttachType); 9] = [
    (name::PROBE, AttachType::SockOps),
    (name::RECVMSG4, AttachType::Udp4Recvmsg),
    (name::RECVMSG6, AttachType::Udp6Recvmsg),
    (name::PEERNAME4, AttachType::Inet4Getpeername),
    (name::PEERNAME6, AttachType::Inet6Getpeername),
    (name::SENDMSG4, AttachType::Udp4Sendmsg),
    (name::SENDMSG6, AttachType::Udp6Sendmsg),
    (name::CONNECT4, AttachType::Inet4Connect),
    (name::CONNECT6, AttachType::Inet6Connect),
];

/// Attaches or updates every hook at the cgroup `id`, opened as `cgroup`.
pub(crate) fn attach(
    object: &mut Ebpf,
    cgroup: BorrowedFd<'_>,
    id: u64,
    pins: &Pins,
) -> Result<(), OpenError> {
    for (program, attach_type) in HOOKS {
        let loaded = load(object, program).map_err(|source| OpenError::Program {
            program,
            source: Box::new(source),
        })?;
        let failed = |action| {
            move |source| OpenError::Attach {
                program,
                action,
                source,
            }
        };
        let pin = pins.link(program);
        if update(&pin, loaded.as_fd(), id).map_err(failed("update"))? {
            continue;
        }
        pins::remove_link(&pin).map_err(failed("replace"))?;
        let link = create(loaded.as_fd(), cgroup, attach_type).map_err(failed("attach"))?;
        sys::pin(link.as_fd(), &pin).map_err(failed("pin"))?;
    }
    Ok(())
}

/// The program's descriptor, after the verifier has accepted it.
fn load(object: &mut Ebpf, name: &str) -> Result<OwnedFd, ProgramError> {
    let program = object
        .program_mut(name)
        .ok_or(ProgramError::UnexpectedProgramType)?;
    let fd = match program {
        Program::SockOps(_) => {
            let program: &mut SockOps = program.try_into()?;
            program.load()?;
            program.fd()?.try_clone()?
        }
        _ => {
            let program: &mut CgroupSockAddr = program.try_into()?;
            program.load()?;
            program.fd()?.try_clone()?
        }
    };
    fd.as_fd()
        .try_clone_to_owned()
        .map_err(ProgramError::IOError)
}

/// Puts the program behind the link pinned at `pin`. False if there is none that can be kept.
fn update(pin: &Path, program: BorrowedFd<'_>, cgroup: u64) -> io::Result<bool> {
    let Some(link) = pins::open(pin)? else {
        return Ok(false);
    };
    if sys::link_target(link.as_fd())?.cgroup_id() != cgroup {
        return Ok(false);
    }
    match sys::link_update(link.as_fd(), program) {
        Ok(()) => Ok(true),
        // The cgroup went away meanwhile.
        Err(error) if error.raw_os_error() == Some(libc::ENOLINK) => Ok(false),
        Err(error) => Err(error),
    }
}

/// First in line if the kernel can do that: a load balancer after us sees what we see.
fn create(
    program: BorrowedFd<'_>,
    cgroup: BorrowedFd<'_>,
    attach_type: AttachType,
) -> io::Result<OwnedFd> {
    match sys::link_create(program, Target::Fd(cgroup), attach_type, BPF_F_BEFORE) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            sys::link_create(program, Target::Fd(cgroup), attach_type, 0)
        }
        result => result,
    }
}
