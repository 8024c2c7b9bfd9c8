//! Loads, pins, attaches and updates the capture programs.
//!
//! In: the object embedded at build time, a bpffs directory, a cgroup. Out: [`Capture`], through
//! which the agent enrolls pods. The kernel owns all state: maps and links are pinned below
//! `<pin root>/v<ABI>/` and outlive this process; [`Capture::open`] adopts what it finds.
//! Must not: keep a copy of kernel state that could differ from it, or touch routes and sysctls.
//! Spec: bpf(2), the kernel's `Documentation/bpf/prog_sk_lookup.rst`.
#![allow(
    unsafe_code,
    reason = "bpf(2) has no wrapper for link update, and map values need aya::Pod"
)]

mod ancestry;
mod capture;
mod cgroup;
mod error;
mod exclude;
mod hooks;
mod instance;
mod layout;
mod maps;
mod nameservers;
mod object;
mod pins;
mod reroute;
mod steer;
mod sys;

pub use ambit_ebpf_common::{Counter, Mark, PodOptions, Role, Slot};
pub use capture::{Capture, CaptureConfig};
pub use cgroup::{CgroupError, CgroupRef, cgroup2_mount, cgroup2_mount_of};
pub use error::{
    EnrollError, ExemptError, MapAccessError, NameserverError, OpenError, RemoveError, SteerError,
};
pub use exclude::{Exclusion, ExclusionError};
