//! Work inside a network namespace, from outside.
//! In: a namespace and a piece of blocking work. Out: its result. A socket made inside stays in the
//! namespace wherever it is used later.
//! Owns: one short-lived thread per call, so that no thread of a runtime ever changes its namespace.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};
use thiserror::Error;

/// Why nothing was done in a namespace.
#[derive(Debug, Error)]
pub enum EnterError {
    /// The namespace is not there.
    #[error("cannot open network namespace {path}")]
    Open {
        /// Its file
        path: String,
        /// Why
        #[source]
        source: io::Error,
    },
    /// The kernel refused.
    #[error("cannot enter network namespace {path}")]
    Enter {
        /// Its file
        path: String,
        /// Why
        #[source]
        source: nix::Error,
    },
    /// No thread to do it on, or the work panicked.
    #[error("no thread for network namespace {path}")]
    Thread {
        /// Its file
        path: String,
    },
}

/// Runs `work` on a thread of its own inside the namespace and waits for it.
///
/// # Errors
/// [`EnterError`] if the namespace cannot be entered.
pub fn inside<T, F>(path: &Path, work: F) -> Result<T, EnterError>
where
    T: Send,
    F: FnOnce() -> T + Send,
{
    let name = path.display().to_string();
    let file = File::open(path).map_err(|source| EnterError::Open {
        path: name.clone(),
        source,
    })?;
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().spawn_scoped(scope, || {
            setns(&file, CloneFlags::CLONE_NEWNET)?;
            Ok(work())
        });
        match thread.map(std::thread::ScopedJoinHandle::join) {
            Ok(Ok(Ok(value))) => Ok(value),
            Ok(Ok(Err(source))) => Err(EnterError::Enter {
                path: name.clone(),
                source,
            }),
            Ok(Err(_)) | Err(_) => Err(EnterError::Thread { path: name.clone() }),
        }
    })
}

/// Like [`inside`], for callers on an async runtime.
///
/// # Errors
/// [`EnterError`].
pub async fn inside_async<T, F>(path: &Path, work: F) -> Result<T, EnterError>
where
    T: Send + 'static,
    F: FnOnce() -> T + Send + 'static,
{
    let path = path.to_owned();
    let name = path.display().to_string();
    tokio::task::spawn_blocking(move || inside(&path, work))
        .await
        .map_err(|_| EnterError::Thread { path: name })?
}

/// Connects from inside the namespace; the stream is non-blocking, ready for a runtime.
///
/// # Errors
/// Both layers' errors as [`io::Error`].
pub async fn connect(
    path: &Path,
    to: SocketAddr,
    timeout: Duration,
) -> io::Result<tokio::net::TcpStream> {
    let stream = inside_async(path, move || TcpStream::connect_timeout(&to, timeout))
        .await
        .map_err(io::Error::other)??;
    stream.set_nonblocking(true)?;
    stream.set_nodelay(true)?;
    tokio::net::TcpStream::from_std(stream)
}
