//! What can go wrong, one type per operation.
//!
//! Every variant carries the fact an operator needs; the cause is the source.

use crate::cgroup::CgroupError;
use ambit_ebpf_common::{MAX_SLOTS, Slot};
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// [`crate::Capture::open`] failed; nothing was detached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The pin root is on another filesystem. Mount one: `mount -t bpf bpf /sys/fs/bpf`.
    #[error("{path} is not on a bpf filesystem")]
    NotBpffs {
        /// The pin root, or its nearest existing parent.
        path: PathBuf,
    },
    /// A pin directory could not be made or read.
    #[error("cannot use pin directory {path}")]
    Pins {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The cgroup to attach to is not usable.
    #[error("cannot use the cgroup root")]
    Cgroup(#[from] CgroupError),
    /// The embedded object or a map was refused.
    #[error("cannot load the capture object")]
    Object(#[source] Box<aya::EbpfError>),
    /// A pinned map differs from what this build expects under the same ABI version.
    #[error("pinned map {map} does not fit: {what}")]
    Layout {
        /// The map.
        map: &'static str,
        /// The difference.
        what: String,
    },
    /// The kernel refused a program.
    #[error("the kernel refused program {program}")]
    Program {
        /// The program.
        program: &'static str,
        /// The verifier's answer.
        #[source]
        source: Box<aya::programs::ProgramError>,
    },
    /// A program is loaded but could not be attached, updated or pinned.
    #[error("cannot {action} program {program}")]
    Attach {
        /// The program.
        program: &'static str,
        /// What was tried.
        action: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A map could not be written.
    #[error("cannot write the node's settings")]
    Settings(#[from] MapAccessError),
    /// The pinned steer links could not be read.
    #[error("cannot adopt steer links")]
    Steer(#[from] SteerError),
}

/// A map could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} map {map}")]
pub struct MapAccessError {
    /// The map.
    pub map: &'static str,
    /// What was tried.
    pub action: &'static str,
    /// Why not.
    #[source]
    pub source: aya::maps::MapError,
}

/// [`crate::Capture::enroll`] failed; the pod is not captured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EnrollError {
    /// The node's own namespace must never be captured.
    #[error("netns cookie {cookie} is the node's own network namespace")]
    Node {
        /// The cookie.
        cookie: u64,
    },
    /// The map could not be written.
    #[error(transparent)]
    Map(#[from] MapAccessError),
}

/// [`crate::Capture::set_exempt`] failed; the exemptions are as before.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExemptError {
    /// More cgroups than the map holds.
    #[error("{given} exempt cgroups, at most {most} are possible")]
    TooMany {
        /// How many were given.
        given: usize,
        /// How many fit.
        most: u32,
    },
    /// The map could not be written.
    #[error(transparent)]
    Map(#[from] MapAccessError),
}

/// [`crate::Capture::set_nameservers`] failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NameserverError {
    /// Every index is in use.
    #[error("no index is left for nameserver {address}")]
    Full {
        /// The nameserver that did not fit.
        address: Ipv4Addr,
    },
    /// The map could not be written.
    #[error(transparent)]
    Map(#[from] MapAccessError),
}

/// Attaching, detaching or listing the programs of a pod failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SteerError {
    /// The instance for the slot could not be prepared.
    #[error("cannot prepare {program} for slot {slot}")]
    Object {
        /// Name of the program.
        program: &'static str,
        /// The slot.
        slot: Slot,
        /// Why not.
        #[source]
        source: Box<aya::EbpfError>,
    },
    /// The kernel refused the instance.
    #[error("the kernel refused {program} for slot {slot}")]
    Program {
        /// Name of the program.
        program: &'static str,
        /// The slot.
        slot: Slot,
        /// The verifier's answer.
        #[source]
        source: Box<aya::programs::ProgramError>,
    },
    /// The link could not be made, changed or removed.
    #[error("cannot {action} the link of {program} in slot {slot}")]
    Link {
        /// Name of the program.
        program: &'static str,
        /// The slot.
        slot: Slot,
        /// What was tried.
        action: &'static str,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The kernel has no tcx, by which programs are attached to interfaces: it came with Linux 6.6.
    #[error("virtual interfaces can be rerouted from Linux 6.6 on")]
    NoTcx(#[source] io::Error),
    /// The pin directory could not be read.
    #[error("cannot list pinned links of pods")]
    List(#[source] io::Error),
    /// A pin has a name that is not of ours.
    #[error("pin {name:?} is no slot below {MAX_SLOTS}")]
    Name {
        /// The file's name.
        name: String,
    },
    /// The slot's settings could not be cleared.
    #[error(transparent)]
    Map(#[from] MapAccessError),
}

/// [`crate::Capture::remove_all`] or [`crate::Capture::retire_other_versions`] failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}")]
pub struct RemoveError {
    /// What was tried.
    pub action: &'static str,
    /// The pin or directory.
    pub path: PathBuf,
    /// Why not.
    #[source]
    pub source: io::Error,
}
