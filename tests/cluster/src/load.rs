//! Images into nodes.
//! In: OCI archives. Out: images under the names in the archives, in the containerd of each node.
//! containerd's socket is reached through `/proc/<pid>/root`, so the archive may lie anywhere.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::names::Role;
use crate::process;
use crate::progress::say;
use crate::state::Directory;

/// Imports archives into every node that runs.
///
/// # Errors
/// An archive that containerd refuses, a cluster without running nodes.
pub fn load(directory: &Directory, archives: &[PathBuf]) -> Result<()> {
    let mut sockets = Vec::new();
    for role in directory.roles()? {
        if let (Role::Node(_), Some(running)) = (role, directory.running(role)) {
            let socket = format!("/proc/{}/root/run/containerd/containerd.sock", running.pid);
            sockets.push((role, PathBuf::from(socket)));
        }
    }
    anyhow::ensure!(!sockets.is_empty(), "no node of {} runs", directory.name());
    for archive in archives {
        anyhow::ensure!(archive.is_file(), "{} is not a file", archive.display());
        for (role, socket) in &sockets {
            import(socket, archive)
                .with_context(|| format!("load {} on {role}", archive.display()))?;
        }
        say(&format!("loaded {}", archive.display()));
    }
    Ok(())
}

/// Imports one archive into the containerd at a socket.
pub(crate) fn import(socket: &Path, archive: &Path) -> Result<()> {
    let mut ctr = Command::new("ctr");
    ctr.arg("--address")
        .arg(socket)
        .args(["--namespace", "k8s.io", "images", "import"])
        .arg(archive);
    process::output(&mut ctr).map(drop)
}
