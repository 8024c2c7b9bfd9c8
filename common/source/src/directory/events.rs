//! File system events, folded into "which paths must be read again". Bounded: too many paths, or an
//! overflow of the kernel's queue, become one full rescan.

use super::tree::{STATUS_DIR, StatusPath, is_document};
use notify::event::{AccessKind, AccessMode, CreateKind, EventKind, ModifyKind};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use tokio::sync::Notify;

const MAX_PATHS: usize = 4096;

/// What must be read again.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Dirty {
    /// Everything.
    pub(super) all: bool,
    /// The whole status tree.
    pub(super) statuses: bool,
    /// Documents of the user.
    pub(super) files: BTreeSet<String>,
    /// Status documents.
    pub(super) status: BTreeSet<StatusPath>,
}

/// Shared by the watcher's thread, which notes, and the reader, which takes.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    dirty: Mutex<Dirty>,
    wake: Notify,
}

impl Inbox {
    /// Folds one event in.
    pub(super) fn note(&self, root: &Path, event: &notify::Result<notify::Event>) {
        {
            let mut dirty = self.dirty.lock().unwrap_or_else(PoisonError::into_inner);
            fold(&mut dirty, root, event);
            if dirty.files.len() + dirty.status.len() > MAX_PATHS {
                dirty.all = true;
            }
            if *dirty == Dirty::default() {
                return;
            }
        }
        self.wake.notify_one();
    }

    /// What has been noted since the last call.
    pub(super) fn take(&self) -> Dirty {
        std::mem::take(&mut *self.dirty.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether something is noted and not taken.
    pub(super) fn is_pending(&self) -> bool {
        *self.dirty.lock().unwrap_or_else(PoisonError::into_inner) != Dirty::default()
    }

    /// Waits until something more is noted. Cancel-safe.
    pub(super) async fn noted(&self) {
        self.wake.notified().await;
    }
}

fn fold(dirty: &mut Dirty, root: &Path, event: &notify::Result<notify::Event>) {
    let Ok(event) = event else {
        // The watcher lost track; only a full read is safe.
        dirty.all = true;
        return;
    };
    if event.need_rescan() {
        dirty.all = true;
        return;
    }
    let finished = match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write))
        | EventKind::Modify(ModifyKind::Name(_))
        | EventKind::Remove(_) => true,
        // Links appear complete and are never closed.
        EventKind::Create(CreateKind::File | CreateKind::Any | CreateKind::Other) => {
            event.paths.iter().any(appears_complete)
        }
        EventKind::Create(CreateKind::Folder) => true,
        _ => false,
    };
    if !finished {
        return;
    }
    for path in &event.paths {
        place(dirty, root, path);
    }
}

fn place(dirty: &mut Dirty, root: &Path, path: &Path) {
    let Ok(relative) = path.strip_prefix(root) else {
        dirty.all = true;
        return;
    };
    let mut parts = relative.iter();
    let first = parts.next().and_then(|p| p.to_str()).unwrap_or("");
    if first == STATUS_DIR {
        match StatusPath::parse(relative) {
            Some(status) => {
                dirty.status.insert(status);
            }
            // A directory came or went, and with it perhaps files nobody saw an event of.
            None if !is_temporary(relative) => dirty.statuses = true,
            None => {}
        }
    } else if parts.next().is_none() {
        if is_document(first) {
            dirty.files.insert(first.to_owned());
        } else if first.starts_with("..") || first.is_empty() {
            // `..data` of a mounted ConfigMap changes what all links beside it mean.
            dirty.all = true;
        }
    }
}

fn is_temporary(relative: &Path) -> bool {
    relative
        .file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| name.starts_with('.') && name != STATUS_DIR)
}

fn appears_complete(path: &PathBuf) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_symlink() || meta.nlink() > 1)
}
