//! Watching: events wake it, what changed is read, the catalogue says what is new.
//! Files are read in place: they are few and small, and a batch given up half-way would be lost.

use super::catalog::{Catalog, Text};
use super::events::{Dirty, Inbox};
use super::tree::{STATUS_DIR, StatusPath, list_files, list_statuses, read_text};
use crate::Batch;
use crate::watch::{Batches, Watch, WatchError};
use futures::future::BoxFuture;
use notify::{RecommendedWatcher, RecursiveMode, Watcher as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// Editors rename away, write and rename back; that is one change.
const QUIET: Duration = Duration::from_millis(25);
/// A directory that never rests is read this often.
const PATIENCE: Duration = Duration::from_millis(250);

/// A watched directory. Dropping it ends the watch.
#[derive(Debug)]
struct DirectoryWatch {
    root: PathBuf,
    watcher: RecommendedWatcher,
    watches_status: bool,
    inbox: Arc<Inbox>,
    catalog: Catalog,
    started: bool,
}

/// Starts to watch. Nothing is read before the first [`Watch::next`].
///
/// # Errors
/// When the directory does not exist or cannot be watched.
pub fn watch(dir: &Path) -> Result<Watch, WatchError> {
    let root = dir.canonicalize().map_err(|source| WatchError::List {
        dir: dir.to_owned(),
        source,
    })?;
    let inbox = Arc::new(Inbox::default());
    let (noted, at) = (inbox.clone(), root.clone());
    let fail = |source| WatchError::Notify {
        path: root.clone(),
        source,
    };
    let watcher =
        notify::recommended_watcher(move |event| noted.note(&at, &event)).map_err(fail)?;
    let mut watch = DirectoryWatch {
        root,
        watcher,
        watches_status: false,
        inbox,
        catalog: Catalog::default(),
        started: false,
    };
    // Watching an existing tree is simpler than noticing its birth; a read-only directory has none.
    let status = watch.root.join(STATUS_DIR);
    if let Err(error) = std::fs::create_dir_all(&status) {
        tracing::debug!(path = %status.display(), %error, "no status tree");
    }
    watch.watch_root()?;
    Ok(Watch::new(watch))
}

/// Reads a directory once, statuses included.
///
/// # Errors
/// When the directory cannot be listed. Wrong documents are problems of the batch.
pub fn load(dir: &Path) -> Result<Batch, WatchError> {
    let mut catalog = Catalog::default();
    let everything = Dirty {
        all: true,
        ..Dirty::default()
    };
    apply(&mut catalog, read(dir, &everything)?);
    Ok(catalog.settle().unwrap_or_default())
}

impl Batches for DirectoryWatch {
    fn next(&mut self) -> BoxFuture<'_, Result<Batch, WatchError>> {
        Box::pin(self.batch())
    }
}

impl DirectoryWatch {
    /// The next batch. The first holds the whole directory and comes at once, even when it is empty.
    /// Cancel-safe: what was noted and not delivered comes with the next call.
    ///
    /// # Errors
    /// When the directory itself cannot be listed any more. What was told stays true; a later call
    /// tries again, at once: the caller paces its tries.
    async fn batch(&mut self) -> Result<Batch, WatchError> {
        loop {
            if !self.started {
                self.watch_root()?;
                let everything = Dirty {
                    all: true,
                    ..Dirty::default()
                };
                self.absorb(everything)?;
                self.started = true;
            } else {
                while !self.inbox.is_pending() {
                    self.inbox.noted().await;
                }
                self.settle_down().await;
                let dirty = self.inbox.take();
                if let Err(error) = self.absorb(dirty) {
                    self.started = false;
                    return Err(error);
                }
            }
            if let Some(batch) = self.catalog.settle() {
                return Ok(batch);
            }
        }
    }

    /// Again after an error too: a directory made anew has no watch.
    fn watch_root(&mut self) -> Result<(), WatchError> {
        self.watcher
            .watch(&self.root, RecursiveMode::NonRecursive)
            .map_err(|source| WatchError::Notify {
                path: self.root.clone(),
                source,
            })?;
        self.watches_status = false;
        self.watch_status();
        Ok(())
    }

    async fn settle_down(&self) {
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end && timeout(QUIET, self.inbox.noted()).await.is_ok() {}
    }

    fn absorb(&mut self, dirty: Dirty) -> Result<(), WatchError> {
        if !self.watches_status || dirty.statuses || dirty.all {
            self.watch_status();
        }
        let news = read(&self.root, &dirty)?;
        apply(&mut self.catalog, news);
        Ok(())
    }

    fn watch_status(&mut self) {
        let status = self.root.join(STATUS_DIR);
        if !status.is_dir() {
            self.watches_status = false;
            return;
        }
        if self.watches_status {
            return;
        }
        match self.watcher.watch(&status, RecursiveMode::Recursive) {
            Ok(()) => self.watches_status = true,
            Err(error) => {
                tracing::warn!(path = %status.display(), %error, "statuses are not watched");
            }
        }
    }
}

/// What was read; `None` means gone.
#[derive(Debug, Default)]
struct News {
    files: Vec<(String, Option<Text>)>,
    statuses: Vec<(StatusPath, Option<Text>)>,
    /// Every name there is, when the whole directory was listed.
    all_files: Option<std::collections::BTreeSet<String>>,
    all_statuses: Option<std::collections::BTreeSet<StatusPath>>,
}

fn read(root: &Path, dirty: &Dirty) -> Result<News, WatchError> {
    let mut news = News::default();
    if dirty.all {
        let files = list_files(root).map_err(|source| WatchError::List {
            dir: root.to_owned(),
            source,
        })?;
        news.all_files = Some(files);
    }
    if dirty.all || dirty.statuses {
        news.all_statuses = Some(list_statuses(root));
    }
    let files = news.all_files.as_ref().unwrap_or(&dirty.files);
    for name in files {
        news.files.push((name.clone(), read_text(&root.join(name))));
    }
    let statuses = news.all_statuses.as_ref().unwrap_or(&dirty.status);
    for path in statuses {
        let text = read_text(&root.join(path.relative()));
        news.statuses.push((path.clone(), text));
    }
    Ok(news)
}

fn apply(catalog: &mut Catalog, news: News) {
    if let Some(all) = &news.all_files {
        for gone in catalog.file_names().difference(all) {
            catalog.remove_file(gone);
        }
    }
    if let Some(all) = &news.all_statuses {
        for gone in catalog.status_paths().difference(all) {
            catalog.remove_status(gone);
        }
    }
    for (name, text) in news.files {
        match text {
            Some(text) => catalog.set_file(&name, text),
            None => catalog.remove_file(&name),
        }
    }
    for (path, text) in news.statuses {
        match text {
            Some(text) => catalog.set_status(&path, text),
            None => catalog.remove_status(&path),
        }
    }
}

#[cfg(test)]
mod tests;
