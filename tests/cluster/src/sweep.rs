//! Ending the parts of a cluster.
//! In: a cluster's name; its state directory may be gone. Out: none of its processes, groups and networks.

use anyhow::{Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::cgroups::{self, Hierarchies};
use crate::names::{NodeNumber, Role};
use crate::state::Directory;
use crate::{network, readiness};

/// Ends every process of a cluster and removes its groups and networks, found by their names alone.
pub(crate) fn all(directory: &Directory) -> Result<()> {
    let hierarchies = Hierarchies::find()?;
    let mut roles = vec![Role::ControlPlane];
    roles.extend(
        NodeNumber::first(NodeNumber::MOST)?
            .into_iter()
            .map(Role::Node),
    );
    // All at once first: each takes a moment to end.
    for group in hierarchies.left(directory.name()) {
        cgroups::kill(&group);
    }
    for role in roles {
        end(directory, role)?;
    }
    for group in hierarchies.left(directory.name()) {
        cgroups::remove(&group)?;
    }
    network::remove(directory.name())
}

/// Ends every process of a part.
pub(crate) fn end(directory: &Directory, role: Role) -> Result<()> {
    if let Some(running) = directory.running(role) {
        // The first process of a namespace takes all others with it. Gone meanwhile is as good.
        let _ = kill(Pid::from_raw(running.pid), Signal::SIGKILL);
    }
    for group in Hierarchies::find()?.left(directory.name()) {
        if group.ends_with(directory.name().of(role)) {
            cgroups::kill(&group);
        }
    }
    readiness::until(&format!("the end of {role}"), || {
        match directory.running(role) {
            Some(running) => bail!("process {} is still there", running.pid),
            None => Ok(()),
        }
    })
}
