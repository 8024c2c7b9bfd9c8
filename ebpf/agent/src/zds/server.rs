//! The listening socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use ambit_net::fd_passing::SeqListener;
use ambit_runtime::tasks::TaskGroup;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

use super::session;
use crate::events::Event;
use crate::proxy::SessionId;

/// A bound ZDS socket.
#[derive(Debug)]
pub struct Server {
    listener: SeqListener,
    path: PathBuf,
}

/// The socket cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {path}")]
pub struct ServeError {
    /// Where.
    pub path: PathBuf,
    /// Why not.
    #[source]
    pub source: io::Error,
}

impl Server {
    /// Binds the socket, in place of one a former agent left.
    ///
    /// # Errors
    /// [`ServeError`].
    pub fn bind(path: &Path) -> Result<Self, ServeError> {
        let failed = |source| ServeError {
            path: path.to_owned(),
            source,
        };
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).map_err(failed)?;
        }
        Ok(Self {
            listener: SeqListener::bind(path).map_err(failed)?,
            path: path.to_owned(),
        })
    }

    /// Serves until dropped. Connections are numbered: the highest is the newest.
    pub async fn serve(self, events: mpsc::Sender<Event>) {
        let mut sessions = TaskGroup::new("zds");
        let mut number = 0;
        loop {
            let accepted = self.listener.accept().await;
            let next = Instant::now() + BETWEEN_ACCEPTS;
            sessions.reap();
            match accepted {
                Ok(_) if sessions.len() >= MAX_SESSIONS => {
                    tracing::warn!("zds connection refused: too many");
                }
                Ok(socket) => {
                    number += 1;
                    sessions.spawn(
                        "zds session",
                        session::run(SessionId(number), socket, events.clone()),
                    );
                }
                Err(error) => {
                    tracing::warn!(path = %self.path.display(), %error, "zds accept failed");
                }
            }
            // A proxy that crashes at once must not keep the agent busy with snapshots.
            sleep_until(next).await;
        }
    }
}

/// Upstream's limit is five connections a second.
const BETWEEN_ACCEPTS: Duration = Duration::from_millis(200);
/// A node has one proxy, two while it is replaced.
const MAX_SESSIONS: usize = 16;
