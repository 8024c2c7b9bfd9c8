//! Taking a cluster down, whatever state it is in.
//! In: a state directory, which may be gone or half-made. Out: no process, mount, network namespace,
//! control group or file of it is left.

use anyhow::{Context as _, Result};

use crate::progress::say;
use crate::state::Directory;
use crate::{readiness, sweep};

/// Removes everything of a cluster.
///
/// # Errors
/// What could not be removed.
pub fn down(directory: &Directory) -> Result<()> {
    let _held = directory
        .path()
        .exists()
        .then(|| directory.lock())
        .transpose()?;
    sweep::all(directory)?;
    if directory.path().exists() {
        // Mounts of the last process go a moment after it.
        readiness::until("the end of the mounts", || {
            std::fs::remove_dir_all(directory.path()).context("remove the state")
        })?;
    }
    say(&format!("cluster {} is gone", directory.name()));
    Ok(())
}
