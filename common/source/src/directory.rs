//! Watches a directory: `DIR/*.yaml` of the user, `DIR/.status/<writer>/…` of the writers.
//! A file is read after it was closed or renamed, never while it is being written. When the kernel
//! lost events, everything is read again.
//! Owns: the catalog. Out: one [`Batch`] per burst of changes.

mod layout;

use crate::catalog::{Batch, Catalog};
use crate::document::LARGEST_FILE;
use layout::Place;
use notify::event::{AccessKind, AccessMode, CreateKind, EventKind, ModifyKind, RemoveKind, RenameMode};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::BTreeSet;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use thiserror::Error;
use tokio::sync::mpsc;
use tracing::warn;

/// Events waiting to be looked at; when they do not fit, everything is read again.
const QUEUE: usize = 1024;
/// A burst is over when nothing happened for this long …
const QUIET: Duration = Duration::from_millis(10);
/// … or when it has lasted this long.
const LONGEST_BURST: Duration = Duration::from_millis(200);

/// Why a directory cannot be watched.
#[derive(Debug, Error)]
pub enum WatchError {
    /// It does not exist or cannot be read.
    #[error("read directory {path}")]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The kernel refused to watch it.
    #[error("watch directory {path}")]
    Watch {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: notify::Error,
    },
}

pub(crate) use layout::status_path;

/// The object a writer's file is about.
pub(crate) fn status_place(dir: &Path, path: &Path) -> Option<ambit_crds::ObjectKey> {
    match layout::place(dir, path)? {
        Place::Status { key, .. } => Some(key),
        Place::User => None,
    }
}

/// A watched directory.
pub struct Watch {
    dir: PathBuf,
    catalog: Catalog,
    events: mpsc::Receiver<PathBuf>,
    overflow: Arc<AtomicBool>,
    first: bool,
    // Dropping it stops the events.
    _watcher: RecommendedWatcher,
}

/// Starts watching `dir`, which must exist; `.status` in it is created.
///
/// # Errors
/// See [`WatchError`].
pub fn watch(dir: &Path) -> Result<Watch, WatchError> {
    let io = |source| WatchError::Read {
        path: dir.to_owned(),
        source,
    };
    let dir = dir.canonicalize().map_err(io)?;
    std::fs::create_dir_all(dir.join(layout::STATUS)).map_err(io)?;
    let (sender, events) = mpsc::channel(QUEUE);
    let overflow = Arc::new(AtomicBool::new(false));
    let lost = overflow.clone();
    let refused = |source| WatchError::Watch {
        path: dir.clone(),
        source,
    };
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let paths = match event {
            Ok(e) if e.need_rescan() => vec![PathBuf::new()],
            Ok(e) if is_interesting(e.kind) => e.paths,
            Ok(_) => return,
            Err(_) => vec![PathBuf::new()],
        };
        for path in paths {
            let rescan = path.as_os_str().is_empty();
            if rescan || sender.try_send(path).is_err() {
                lost.store(true, Ordering::Release);
                // Wakes the reader; a full queue will do so anyway.
                let _ = sender.try_send(PathBuf::new());
            }
        }
    })
    .map_err(refused)?;
    watcher
        .watch(&dir, RecursiveMode::Recursive)
        .map_err(refused)?;
    Ok(Watch {
        dir,
        catalog: Catalog::default(),
        events,
        overflow,
        first: true,
        _watcher: watcher,
    })
}

/// Closed after writing, renamed, removed; new directories, whose files may be there already.
fn is_interesting(kind: EventKind) -> bool {
    matches!(
        kind,
        EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Name(
                RenameMode::To | RenameMode::From | RenameMode::Both | RenameMode::Any
            ))
            | EventKind::Remove(RemoveKind::File | RemoveKind::Any | RemoveKind::Folder)
            | EventKind::Create(CreateKind::Folder)
    )
}

impl Watch {
    /// The next batch; the first one holds everything and comes at once, even when it is empty.
    /// `None` when the watcher is gone. Cancel safe.
    pub async fn next(&mut self) -> Option<Batch> {
        if self.first {
            self.first = false;
            self.read_all();
            return Some(self.catalog.batch());
        }
        loop {
            let paths = self.burst().await?;
            if self.overflow.swap(false, Ordering::AcqRel) {
                warn!(dir = %self.dir.display(), "file events were lost, reading everything again");
                self.catalog.forget_files();
                self.read_all();
            } else {
                for path in paths {
                    self.read(&path);
                }
            }
            if let Some(batch) = self.catalog.changed() {
                return Some(batch);
            }
        }
    }

    async fn burst(&mut self) -> Option<BTreeSet<PathBuf>> {
        let mut paths = BTreeSet::from([self.events.recv().await?]);
        let end = tokio::time::Instant::now() + LONGEST_BURST;
        while let Ok(Some(path)) =
            tokio::time::timeout_at(end.min(tokio::time::Instant::now() + QUIET), self.events.recv()).await
        {
            paths.insert(path);
        }
        Some(paths)
    }

    fn read_all(&mut self) {
        let dir = self.dir.clone();
        self.read(&dir);
    }

    /// Reads a file, or everything below a directory. A path that is gone is removed.
    fn read(&mut self, path: &Path) {
        if path.is_dir() {
            let Ok(entries) = std::fs::read_dir(path) else { return };
            for entry in entries.filter_map(Result::ok) {
                self.read(&entry.path());
            }
            return;
        }
        match layout::place(&self.dir, path) {
            Some(Place::User) => match content(path) {
                Content::Bytes(bytes) => self.catalog.set_file(path, Some(&bytes)),
                Content::Gone => self.catalog.set_file(path, None),
                Content::Unreadable => {}
            },
            Some(Place::Status { writer, key }) => match content(path) {
                Content::Bytes(bytes) => self.catalog.set_status(&writer, &key, Some(&bytes)),
                Content::Gone => self.catalog.set_status(&writer, &key, None),
                Content::Unreadable => {}
            },
            None => self.gone(path),
        }
    }
}

impl Watch {
    /// A directory of statuses that was removed or renamed away.
    fn gone(&mut self, path: &Path) {
        let status = self.dir.join(layout::STATUS);
        let Ok(below) = path.strip_prefix(&status) else { return };
        let Some(writer) = below.iter().next().and_then(|w| w.to_str()) else { return };
        if !path.exists() {
            let dir = &self.dir;
            let keep = |key: &ambit_crds::ObjectKey| {
                dir.join(status_path(writer, key)).exists()
            };
            self.catalog.remove_writer(writer, keep);
        }
    }
}

enum Content {
    Bytes(Vec<u8>),
    Gone,
    /// For now; the last good version stands.
    Unreadable,
}

fn content(path: &Path) -> Content {
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Content::Gone,
        Err(error) => {
            warn!(file = %path.display(), %error, "file cannot be read");
            return Content::Unreadable;
        }
    };
    let mut bytes = Vec::new();
    // One byte more than allowed, so that `document` sees that it is too large.
    match file.take(LARGEST_FILE as u64 + 1).read_to_end(&mut bytes) {
        Ok(_) => Content::Bytes(bytes),
        Err(error) => {
            warn!(file = %path.display(), %error, "file cannot be read");
            Content::Unreadable
        }
    }
}

#[cfg(test)]
mod tests;
