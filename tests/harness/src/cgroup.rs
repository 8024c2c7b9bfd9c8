//! A cgroup2 subtree per lab.
//! In: names. Out: directories under the machine's cgroup2 mount, and their removal.
//! Owns: the subtree `ambit-<lab>` and every process in it.
//! Spec: Linux `Documentation/admin-guide/cgroup-v2.rst`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use thiserror::Error;

/// How long killed processes may take to leave their cgroup.
const EMPTY_WITHIN: Duration = Duration::from_secs(10);

/// Why a cgroup could not be made or removed.
#[derive(Debug, Error)]
pub enum CgroupError {
    /// No cgroup2 hierarchy is mounted.
    #[error("no cgroup2 mount in /proc/self/mountinfo")]
    NoMount,
    /// The directory refused.
    #[error("cgroup {path}")]
    Io {
        /// The directory
        path: PathBuf,
        /// Why
        #[source]
        source: io::Error,
    },
    /// Killed processes are still there.
    #[error("processes in {path} did not end within {EMPTY_WITHIN:?}")]
    Busy {
        /// The directory
        path: PathBuf,
    },
}

/// Mount point of the cgroup2 hierarchy: the whole machine's or, on a hybrid one, the unified part.
///
/// # Errors
/// [`CgroupError::NoMount`].
pub fn mount_point() -> Result<PathBuf, CgroupError> {
    let info = fs::read_to_string("/proc/self/mountinfo").map_err(|source| CgroupError::Io {
        path: "/proc/self/mountinfo".into(),
        source,
    })?;
    parse_mount_point(&info).ok_or(CgroupError::NoMount)
}

fn parse_mount_point(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (left, right) = line.split_once(" - ")?;
        let mut fields = left.split(' ').skip(3);
        let (root, mount) = (fields.next()?, fields.next()?);
        (right.split(' ').next() == Some("cgroup2") && root == "/").then(|| PathBuf::from(mount))
    })
}

/// Makes the directory and its parents.
///
/// # Errors
/// [`CgroupError::Io`].
pub fn create(path: &Path) -> Result<(), CgroupError> {
    fs::create_dir_all(path).map_err(|source| CgroupError::Io {
        path: path.to_owned(),
        source,
    })
}

/// Kills every process in the subtree and removes it. A subtree that is not there is removed already.
///
/// # Errors
/// [`CgroupError::Busy`] if processes outlive the kill, [`CgroupError::Io`] otherwise.
pub fn remove(path: &Path) -> Result<(), CgroupError> {
    if !path.exists() {
        return Ok(());
    }
    let io = |source| CgroupError::Io {
        path: path.to_owned(),
        source,
    };
    fs::write(path.join("cgroup.kill"), "1").map_err(io)?;
    wait_empty(path)?;
    remove_tree(path).map_err(io)
}

/// Whether any process is in the subtree.
pub fn populated(path: &Path) -> bool {
    fs::read_to_string(path.join("cgroup.events"))
        .is_ok_and(|events| events.contains("populated 1"))
}

fn wait_empty(path: &Path) -> Result<(), CgroupError> {
    let deadline = Instant::now() + EMPTY_WITHIN;
    while populated(path) {
        if Instant::now() > deadline {
            return Err(CgroupError::Busy {
                path: path.to_owned(),
            });
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn remove_tree(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unified_mount_is_found_on_hybrid_and_on_pure_machines() {
        let hybrid = "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
                      41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n";
        assert_eq!(
            parse_mount_point(hybrid).unwrap(),
            Path::new("/sys/fs/cgroup/unified")
        );
        let pure =
            "31 23 0:28 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(
            parse_mount_point(pure).unwrap(),
            Path::new("/sys/fs/cgroup")
        );
        assert_eq!(
            parse_mount_point("31 23 0:28 / /x rw - tmpfs tmpfs rw\n"),
            None
        );
    }
}
