//! Cgroups as the programs know them.
//!
//! In: paths below a cgroup2 mount. Out: `{level, id}`, which the kernel compares with a process's
//! ancestors; unlike a mark it cannot be forged. Owns nothing.
//! Spec: the kernel's `Documentation/admin-guide/cgroup-v2.rst`, proc_pid_mountinfo(5).

use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A cgroup, and with it every process in it or below.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CgroupRef {
    /// Depth in the hierarchy; the root has 0.
    pub level: u32,
    /// The cgroup's id, which is also its directory's inode.
    pub id: u64,
}

/// A cgroup could not be identified.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CgroupError {
    /// The directory cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The directory or file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The directory is not on a cgroup2 filesystem.
    #[error("{path} is not on a cgroup2 filesystem")]
    NotCgroup2 {
        /// The directory.
        path: PathBuf,
    },
    /// The directory is not below the mount.
    #[error("{path} is not below the cgroup2 mount {mount}")]
    NotBelow {
        /// The directory.
        path: PathBuf,
        /// The mount.
        mount: PathBuf,
    },
    /// The mount shows only a part of the hierarchy, so depths cannot be counted.
    #[error("{mount} is not the root of the cgroup2 hierarchy; mount the host's")]
    PartialMount {
        /// The mount.
        mount: PathBuf,
    },
    /// No cgroup2 hierarchy is mounted.
    #[error("no cgroup2 filesystem is mounted")]
    NotMounted,
}

impl CgroupRef {
    /// The cgroup at `path`, below the mount of the whole hierarchy at `cgroup_mount`.
    pub fn of(path: &Path, cgroup_mount: &Path) -> Result<Self, CgroupError> {
        let read = |path: &Path| {
            let path = path.to_owned();
            move |source| CgroupError::Read { path, source }
        };
        let mount = cgroup_mount.canonicalize().map_err(read(cgroup_mount))?;
        let path = path.canonicalize().map_err(read(path))?;
        let level = level(&path, &mount)?;
        // Every cgroup but the root has this file.
        if mount.join("cgroup.events").exists() {
            return Err(CgroupError::PartialMount { mount });
        }
        Ok(Self {
            level,
            id: id_of(&path)?,
        })
    }
}

/// Where the cgroup2 hierarchy is mounted, from `/proc/self/mountinfo`.
pub fn cgroup2_mount() -> Result<PathBuf, CgroupError> {
    let path = PathBuf::from("/proc/self/mountinfo");
    match std::fs::read_to_string(&path) {
        Ok(text) => mount_point(&text).ok_or(CgroupError::NotMounted),
        Err(source) => Err(CgroupError::Read { path, source }),
    }
}

/// The id of the cgroup at `path`.
pub(crate) fn id_of(path: &Path) -> Result<u64, CgroupError> {
    let read = |source| CgroupError::Read {
        path: path.to_owned(),
        source,
    };
    let kind = statfs(path).map_err(|errno| read(errno.into()))?;
    if kind.filesystem_type() != CGROUP2_SUPER_MAGIC {
        return Err(CgroupError::NotCgroup2 {
            path: path.to_owned(),
        });
    }
    Ok(std::fs::metadata(path).map_err(read)?.ino())
}

fn level(path: &Path, mount: &Path) -> Result<u32, CgroupError> {
    let below = path
        .strip_prefix(mount)
        .map_err(|_| CgroupError::NotBelow {
            path: path.to_owned(),
            mount: mount.to_owned(),
        })?;
    Ok(u32::try_from(below.components().count()).expect("paths are at most 4096 bytes long"))
}

fn mount_point(mountinfo: &str) -> Option<PathBuf> {
    mountinfo.lines().find_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let point = mount.split(' ').nth(4)?;
        (filesystem.split(' ').next()? == "cgroup2").then(|| PathBuf::from(unescape(point)))
    })
}

/// Spaces, tabs, newlines and backslashes are three octal digits in mountinfo.
fn unescape(text: &str) -> String {
    [
        ("\\040", " "),
        ("\\011", "\t"),
        ("\\012", "\n"),
        ("\\134", "\\"),
    ]
    .iter()
    .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mount_is_found_on_hybrid_machines_and_with_odd_names() {
        let text = "\
            30 29 0:25 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu\n\
            31 29 0:26 / /mnt/a\\040b rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n";
        assert_eq!(mount_point(text), Some(PathBuf::from("/mnt/a b")));
        assert_eq!(mount_point("broken\n1 2 3 - cgroup2\n"), None);
    }

    #[test]
    fn depth_is_counted_from_the_mount() {
        let mount = Path::new("/sys/fs/cgroup");
        for (path, depth) in [("/sys/fs/cgroup", 0), ("/sys/fs/cgroup/a/b", 2)] {
            assert_eq!(level(Path::new(path), mount).unwrap(), depth);
        }
        assert!(matches!(
            level(Path::new("/tmp"), mount),
            Err(CgroupError::NotBelow { .. })
        ));
    }

    #[test]
    fn another_filesystem_is_refused() {
        let directory = tempfile::tempdir().unwrap();
        assert!(matches!(
            CgroupRef::of(directory.path(), directory.path()),
            Err(CgroupError::NotCgroup2 { .. })
        ));
    }
}
