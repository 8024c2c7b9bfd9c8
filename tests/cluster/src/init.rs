//! The first process of a part of a cluster.
//! In: a role and a state directory. Out: namespaces of its own, its programs running and supervised.
//! Runs twice: outside it joins groups and namespaces and starts itself again; inside it is process 1,
//! and when it ends everything of the part ends with it.
//! Spec: pid_namespaces(7), cgroup_namespaces(7), shared subtrees of mount(8).

mod control_plane;
mod mounts;
mod node;
mod supervise;

use std::fs::File;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use nix::sched::{CloneFlags, setns, unshare};

use crate::cgroups::Hierarchies;
use crate::names::Role;
use crate::process;
use crate::state::Directory;

/// The word that says that the namespaces have been entered.
pub const INSIDE: &str = "--inside";

/// Enters the namespaces of the role and leaves a first process there; its number is in the state
/// directory afterwards. `again` is the command line that calls [`inside`] with the same role and state.
///
/// # Errors
/// Groups or namespaces that cannot be entered.
pub fn outside(role: Role, state: &Path, again: &[String]) -> Result<()> {
    let directory = Directory::open(state)?;
    Hierarchies::find()?.join(directory.name(), role)?;
    let netns = Path::new("/run/netns").join(directory.name().of(role));
    let netns = File::open(&netns).with_context(|| netns.display().to_string())?;
    setns(netns, CloneFlags::CLONE_NEWNET).context("enter the network namespace")?;
    let mut flags = CloneFlags::CLONE_NEWPID;
    if let Role::Node(_) = role {
        flags |= CloneFlags::CLONE_NEWUTS | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWCGROUP;
    }
    unshare(flags).context("make namespaces")?;
    process::directory(&directory.logs(role))?;
    let log = directory.logs(role).join("init.log");
    let log = File::options()
        .create(true)
        .append(true)
        .open(&log)
        .with_context(|| log.display().to_string())?;
    let own = std::env::current_exe().context("find this program")?;
    let child = Command::new(own)
        .args(again)
        .arg(INSIDE)
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone().context("share a log")?)
        .stderr(log)
        .process_group(0)
        .spawn()
        .context("start the first process")?;
    directory.record(role, i32::try_from(child.id()).context("a process number")?)
}

/// What the first process does; comes back only if the part cannot run.
///
/// # Errors
/// What kept its programs from starting.
pub fn inside(role: Role, state: &Path) -> Result<()> {
    // The terminal of whoever ran `up` must not end the cluster.
    nix::unistd::setsid().ok();
    // Not before: whoever started this process must go on seeing the machine's `/proc`.
    unshare(CloneFlags::CLONE_NEWNS).context("make a mount namespace")?;
    let directory = Directory::open(state)?;
    let composition = directory
        .composition()?
        .context("the cluster was never up")?;
    match role {
        Role::ControlPlane => control_plane::run(&directory, &composition),
        Role::Node(node) => node::run(&directory, &composition, node),
    }
}
