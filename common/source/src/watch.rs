//! What a reader holds, whichever the source: the next batch, or why there is none now.

use crate::Batch;
use futures::future::BoxFuture;
use std::fmt;
use std::path::PathBuf;
use thiserror::Error;

/// Why a source gives no batch now.
#[derive(Debug, Error)]
pub enum WatchError {
    /// The directory cannot be listed.
    #[error("cannot read the directory {dir}")]
    List {
        /// Directory.
        dir: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// The kernel refuses to watch it (often the limit of inotify watches).
    #[error("cannot watch {path}")]
    Notify {
        /// Path.
        path: PathBuf,
        /// Cause.
        #[source]
        source: notify::Error,
    },
    /// A task that follows the API server is gone. What was told may be out of date.
    #[error("nothing follows {what} any more")]
    Ended {
        /// Task.
        what: String,
    },
}

/// A source, seen from its reader.
pub(crate) trait Batches: fmt::Debug + Send {
    /// See [`Watch::next`].
    fn next(&mut self) -> BoxFuture<'_, Result<Batch, WatchError>>;
}

/// A watched source. Dropping it ends the watch.
#[derive(Debug)]
pub struct Watch(Box<dyn Batches>);

impl Watch {
    pub(crate) fn new(source: impl Batches + 'static) -> Self {
        Self(Box::new(source))
    }

    /// The next batch. The first holds everything there is: of a directory at once, even when it is
    /// empty; of an API server once every kind that is installed was listed.
    /// Cancel-safe: what was noted and not delivered comes with the next call.
    ///
    /// # Errors
    /// When the directory itself cannot be listed any more. What was told stays true; a later call
    /// tries again, at once: the caller paces its tries. An API server that cannot be reached is
    /// waited for instead.
    pub async fn next(&mut self) -> Result<Batch, WatchError> {
        self.0.next().await
    }
}
