//! Where things are pinned.
//!
//! In: the pin root. Out: paths below `<pin root>/v<ABI>/`: `maps/<name>`, `links/<program>`,
//! `steer/<slot>`, `reroute/<slot>-<interface>`; checks that it is a bpffs. Owns the directories, not what is in them.

use crate::error::{OpenError, RemoveError};
use crate::sys;
use ambit_ebpf_common::{Slot, names};
use nix::sys::statfs::{FsType, statfs};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

const BPF_FS_MAGIC: libc::c_long = 0xcafe_4a11;

/// The directories of one ABI version.
#[derive(Clone, Debug)]
pub(crate) struct Pins {
    root: PathBuf,
    version: PathBuf,
}

impl Pins {
    /// Checks the root and makes the directories.
    pub(crate) fn prepare(root: &Path) -> Result<Self, OpenError> {
        require_bpffs(root)?;
        let pins = Self {
            root: root.to_owned(),
            version: root.join(format!("v{}", names::ABI_VERSION)),
        };
        for path in [pins.maps(), pins.links(), pins.steers(), pins.reroutes()] {
            std::fs::create_dir_all(&path).map_err(|source| OpenError::Pins { path, source })?;
        }
        Ok(pins)
    }

    /// Directory of the maps.
    pub(crate) fn maps(&self) -> PathBuf {
        self.version.join("maps")
    }

    /// Pin of a map.
    pub(crate) fn map(&self, name: &str) -> PathBuf {
        self.maps().join(name)
    }

    /// Pin of the link of a cgroup program.
    pub(crate) fn link(&self, program: &str) -> PathBuf {
        self.links().join(program)
    }

    /// Directory of the steer links.
    pub(crate) fn steers(&self) -> PathBuf {
        self.version.join("steer")
    }

    /// Pin of the steer link of a slot.
    pub(crate) fn steer(&self, slot: Slot) -> PathBuf {
        self.steers().join(slot.to_string())
    }

    /// Directory of the reroute links.
    pub(crate) fn reroutes(&self) -> PathBuf {
        self.version.join("reroute")
    }

    /// Pin of the reroute link of an interface of a slot's pod.
    pub(crate) fn reroute(&self, slot: Slot, interface: u32) -> PathBuf {
        // A bpffs takes no dots in names.
        self.reroutes().join(format!("{slot}-{interface}"))
    }

    /// Detaches and unpins everything of this version; the root goes with the last one.
    pub(crate) fn remove(&self) -> Result<(), RemoveError> {
        remove_version(&self.version)?;
        match std::fs::remove_dir(&self.root) {
            Err(source) if !is_gone_or_used(&source) => Err(RemoveError {
                action: "remove",
                path: self.root.clone(),
                source,
            }),
            _ => Ok(()),
        }
    }

    /// Detaches and unpins every other version; returns their directories.
    pub(crate) fn remove_others(&self) -> Result<Vec<PathBuf>, RemoveError> {
        let others: Vec<PathBuf> = list(&self.root)?
            .into_iter()
            .filter(|path| *path != self.version && is_version(path))
            .collect();
        for path in &others {
            remove_version(path)?;
        }
        Ok(others)
    }

    fn links(&self) -> PathBuf {
        self.version.join("links")
    }
}

fn is_gone_or_used(error: &io::Error) -> bool {
    use io::ErrorKind::{DirectoryNotEmpty, NotFound, ResourceBusy};
    matches!(error.kind(), DirectoryNotEmpty | NotFound | ResourceBusy)
}

/// Entries of a directory; empty if there is none.
pub(crate) fn entries(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut paths = entries
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

/// Opens a pin; `None` if there is none.
pub(crate) fn open(path: &Path) -> io::Result<Option<std::os::fd::OwnedFd>> {
    match sys::open_pinned(path) {
        Ok(fd) => Ok(Some(fd)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Detaches the link and removes its pin. Unlinking alone would detach it only some time later.
pub(crate) fn remove_link(path: &Path) -> io::Result<()> {
    if let Some(link) = open(path)? {
        sys::link_detach(link.as_fd())?;
        std::fs::remove_file(path)?;
    }
    Ok(())
}

fn require_bpffs(root: &Path) -> Result<(), OpenError> {
    let existing = root
        .ancestors()
        .find(|path| path.exists())
        .unwrap_or(Path::new("/"));
    let pins = |source| OpenError::Pins {
        path: existing.to_owned(),
        source,
    };
    let kind = statfs(existing)
        .map_err(|errno| pins(errno.into()))?
        .filesystem_type();
    if kind != FsType(BPF_FS_MAGIC) {
        return Err(OpenError::NotBpffs {
            path: existing.to_owned(),
        });
    }
    Ok(())
}

fn is_version(path: &Path) -> bool {
    path.file_name()
        .and_then(|name| name.to_str())
        .and_then(|name| name.strip_prefix('v'))
        .is_some_and(|number| number.parse::<u32>().is_ok())
}

fn remove_version(version: &Path) -> Result<(), RemoveError> {
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| RemoveError {
            action,
            path,
            source,
        }
    };
    // Links first: without its maps a program would still run. Outermost hooks before steer.
    for directory in ["links", "reroute", "steer"] {
        for pin in list(&version.join(directory))? {
            remove_link(&pin).map_err(failed("detach", &pin))?;
        }
    }
    for pin in list(&version.join("maps"))? {
        std::fs::remove_file(&pin).map_err(failed("unpin", &pin))?;
    }
    for directory in ["links", "reroute", "steer", "maps", ""] {
        let path = version.join(directory);
        match std::fs::remove_dir(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("remove", &path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

fn list(directory: &Path) -> Result<Vec<PathBuf>, RemoveError> {
    entries(directory).map_err(|source| RemoveError {
        action: "list",
        path: directory.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_that_is_no_bpffs_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let error = Pins::prepare(&directory.path().join("ambit/deeper")).unwrap_err();
        match error {
            OpenError::NotBpffs { path } => assert_eq!(path, directory.path()),
            other => panic!("{other:?}"),
        }
        assert!(!directory.path().join("ambit").exists());
    }

    #[test]
    fn only_version_directories_are_versions() {
        for (path, version) in [
            ("/b/v1", true),
            ("/b/v12", true),
            ("/b/vx", false),
            ("/b/maps", false),
        ] {
            assert_eq!(is_version(Path::new(path)), version, "{path}");
        }
    }
}
