//! The proxies connected now.
//! In: connects and disconnects. Out: the one new pods are offered to; commands queued to each.
//! Owns the sending ends: dropping one ends its session. Additions go to the newest proxy that takes
//! listeners, deletions to all.

use std::collections::BTreeMap;

use tokio::sync::mpsc;

use super::{Command, Proxy, SessionId};

/// Connected proxies by age.
#[derive(Debug, Default)]
pub struct Sessions {
    by_id: BTreeMap<SessionId, Session>,
}

#[derive(Debug)]
struct Session {
    workers: Option<u32>,
    commands: mpsc::Sender<Command>,
}

/// A command could not be queued.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// The connection is gone.
    #[error("the proxy is not connected any more")]
    Gone,
    /// It does not keep up; its connection is ended.
    #[error("the proxy does not keep up")]
    Full,
}

impl Sessions {
    /// A proxy connected. `workers` is `None` if it takes no listeners.
    pub fn insert(&mut self, id: SessionId, workers: Option<u32>, commands: mpsc::Sender<Command>) {
        self.by_id.insert(id, Session { workers, commands });
    }

    /// A proxy went.
    pub fn remove(&mut self, id: SessionId) {
        self.by_id.remove(&id);
    }

    /// How many are connected.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The newest proxy that takes listeners.
    pub fn newest(&self) -> Option<Proxy> {
        self.by_id.iter().rev().find_map(|(id, session)| {
            Some(Proxy {
                session: *id,
                workers: session.workers?,
            })
        })
    }

    /// Queues a command to one proxy.
    ///
    /// # Errors
    /// [`SendError`].
    pub fn send(&mut self, id: SessionId, command: Command) -> Result<(), SendError> {
        let session = self.by_id.get(&id).ok_or(SendError::Gone)?;
        session
            .commands
            .try_send(command)
            .map_err(|error| match error {
                mpsc::error::TrySendError::Closed(_) => SendError::Gone,
                mpsc::error::TrySendError::Full(_) => {
                    self.by_id.remove(&id);
                    SendError::Full
                }
            })
    }

    /// Queues a command to all; a proxy that is gone needs none.
    pub fn send_all(&mut self, command: &Command) {
        let ids: Vec<SessionId> = self.by_id.keys().copied().collect();
        for id in ids {
            if let Err(error) = self.send(id, command.clone()) {
                tracing::debug!(
                    session = id.0,
                    error = &error as &dyn std::error::Error,
                    "command not sent"
                );
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn additions_go_to_the_newest_that_takes_listeners_and_deletions_to_all() {
        let mut sessions = Sessions::default();
        assert_eq!(sessions.newest(), None);
        let mut ends = Vec::new();
        for (id, workers) in [(1, Some(2)), (2, Some(4)), (3, None)] {
            let (sender, receiver) = mpsc::channel(1);
            sessions.insert(SessionId(id), workers, sender);
            ends.push(receiver);
        }
        let newest = sessions.newest().unwrap();
        assert_eq!((newest.session, newest.workers), (SessionId(2), 4));
        sessions.send_all(&Command::SnapshotSent);
        assert!(ends.iter_mut().all(|end| end.try_recv().is_ok()));
        sessions.remove(SessionId(2));
        assert_eq!(sessions.newest().unwrap().session, SessionId(1));
    }

    #[test]
    fn a_proxy_that_does_not_keep_up_is_ended() {
        let mut sessions = Sessions::default();
        let (sender, mut receiver) = mpsc::channel(1);
        sessions.insert(SessionId(1), Some(1), sender);
        sessions.send(SessionId(1), Command::SnapshotSent).unwrap();
        let full = sessions.send(SessionId(1), Command::SnapshotSent);
        assert!(matches!(full, Err(SendError::Full)));
        assert!(matches!(
            sessions.send(SessionId(1), Command::SnapshotSent),
            Err(SendError::Gone)
        ));
        assert!(receiver.try_recv().is_ok());
        assert!(matches!(
            receiver.try_recv(),
            Err(mpsc::error::TryRecvError::Disconnected)
        ));
    }
}
