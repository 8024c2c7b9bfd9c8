//! Cgroups as the programs know them.
//!
//! In: paths below a cgroup2 mount. Out: `{level, id}`, which the kernel compares with a process's
//! ancestors; unlike a mark it cannot be forged. Owns nothing.
//! Spec: the kernel's `Documentation/admin-guide/cgroup-v2.rst`, proc_pid_mountinfo(5).

use crate::ancestry::level_above_us;
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
    /// The mount shows only a part of the hierarchy and this process is not in it, so nobody can say
    /// how deep it lies.
    #[error("{mount} shows a part of the cgroup2 hierarchy that this process is not in")]
    PartialMount {
        /// The mount.
        mount: PathBuf,
    },
    /// The mount shows only a part of the hierarchy, and the kernel does not say how deep it lies.
    #[error("cannot find out how deep {mount} lies in the cgroup2 hierarchy")]
    Depth {
        /// The mount.
        mount: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// No cgroup2 hierarchy is mounted.
    #[error("no cgroup2 filesystem is mounted")]
    NotMounted,
}

impl CgroupRef {
    /// The cgroup at `path`, below the mount at `cgroup_mount`: of the whole hierarchy, or of the part
    /// that a cgroup namespace above this process shows.
    pub fn of(path: &Path, cgroup_mount: &Path) -> Result<Self, CgroupError> {
        let read = |path: &Path| {
            let path = path.to_owned();
            move |source| CgroupError::Read { path, source }
        };
        let mount = cgroup_mount.canonicalize().map_err(read(cgroup_mount))?;
        let path = path.canonicalize().map_err(read(path))?;
        let level = level(&path, &mount)? + level_of_mount(&mount)?;
        Ok(Self {
            level,
            id: id_of(&path)?,
        })
    }
}

/// Where the cgroup2 hierarchy is mounted, from `/proc/self/mountinfo`.
pub fn cgroup2_mount() -> Result<PathBuf, CgroupError> {
    mount_points()?
        .into_iter()
        .next()
        .ok_or(CgroupError::NotMounted)
}

/// The cgroup2 mount that `path` is on. A container may have others, hidden below this one.
pub fn cgroup2_mount_of(path: &Path) -> Result<PathBuf, CgroupError> {
    let path = path.canonicalize().map_err(|source| CgroupError::Read {
        path: path.to_owned(),
        source,
    })?;
    deepest_above(&path, mount_points()?).ok_or(CgroupError::NotCgroup2 { path })
}

fn mount_points() -> Result<Vec<PathBuf>, CgroupError> {
    let path = PathBuf::from("/proc/self/mountinfo");
    match std::fs::read_to_string(&path) {
        Ok(text) => Ok(cgroup2_mounts(&text)),
        Err(source) => Err(CgroupError::Read { path, source }),
    }
}

fn deepest_above(path: &Path, mounts: Vec<PathBuf>) -> Option<PathBuf> {
    let above = mounts.into_iter().filter(|mount| path.starts_with(mount));
    above.max_by_key(|mount| mount.components().count())
}

fn level_of_mount(mount: &Path) -> Result<u32, CgroupError> {
    // Every cgroup but the root has this file.
    if !mount.join("cgroup.events").exists() {
        return Ok(0);
    }
    let mount = mount.to_owned();
    match level_above_us(id_of(&mount)?) {
        Ok(Some(level)) => Ok(level),
        Ok(None) => Err(CgroupError::PartialMount { mount }),
        Err(source) => Err(CgroupError::Depth { mount, source }),
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

fn cgroup2_mounts(mountinfo: &str) -> Vec<PathBuf> {
    let mounts = mountinfo.lines().filter_map(|line| {
        let (mount, filesystem) = line.split_once(" - ")?;
        let point = mount.split(' ').nth(4)?;
        (filesystem.split(' ').next()? == "cgroup2").then(|| PathBuf::from(unescape(point)))
    });
    mounts.collect()
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
        assert_eq!(cgroup2_mounts(text), [Path::new("/mnt/a b")]);
        assert!(cgroup2_mounts("broken\n1 2 3 - cgroup2\n").is_empty());
    }

    #[test]
    fn the_mount_of_a_path_is_the_one_it_is_seen_through() {
        let mounts = || {
            ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"]
                .map(PathBuf::from)
                .into()
        };
        for (path, mount) in [
            ("/sys/fs/cgroup/kubepods", Some("/sys/fs/cgroup")),
            ("/sys/fs/cgroup/unified/x", Some("/sys/fs/cgroup/unified")),
            ("/sys/fs/cgroups", None),
        ] {
            let found = deepest_above(Path::new(path), mounts());
            assert_eq!(found.as_deref(), mount.map(Path::new), "{path}");
        }
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
