//! Removing whatever a lab of some name left on the machine.
//! In: a name. Out: nothing of that name any more, and a line for each thing that would not go.
//! The order matters: processes, then mounts and namespaces they kept busy, then files.

use std::path::Path;

use nix::mount::{MntFlags, umount2};

use crate::names::LabName;
use crate::{cgroup, network};

/// Removes everything called after the lab; returns what could not be removed.
pub fn sweep(lab: &LabName) -> Vec<String> {
    let mut problems = Vec::new();
    let mut note =
        |what: &str, error: &dyn std::fmt::Display| problems.push(format!("{what}: {error}"));
    match cgroup::mount_point() {
        Ok(mount) => {
            if let Err(error) = cgroup::remove(&mount.join(lab.cgroup())) {
                note("cgroup", &format!("{error:?}"));
            }
        }
        Err(error) => note("cgroup", &error),
    }
    for path in mounts_under(&lab.run_dir()) {
        if let Err(error) = umount2(Path::new(&path), MntFlags::MNT_DETACH) {
            note(&path, &error);
        }
    }
    for netns in network::existing(lab) {
        if let Err(error) = network::remove(&netns) {
            note(netns.as_str(), &error);
        }
    }
    for path in [lab.run_dir(), lab.lab_file()] {
        let removed = if path.is_dir() {
            std::fs::remove_dir_all(&path)
        } else {
            std::fs::remove_file(&path)
        };
        match removed {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                note(&path.display().to_string(), &error);
            }
            _ => {}
        }
    }
    problems
}

/// Mount points at or below `dir`, the deepest first.
fn mounts_under(dir: &Path) -> Vec<String> {
    let info = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let mut found: Vec<String> = info
        .lines()
        .filter_map(|line| line.split(' ').nth(4))
        .filter(|mount| Path::new(mount).starts_with(dir))
        .map(str::to_owned)
        .collect();
    found.sort_by_key(|path| std::cmp::Reverse(path.len()));
    found
}
