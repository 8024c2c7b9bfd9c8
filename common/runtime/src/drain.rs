//! Graceful stop: one [`Trigger`], any number of [`Watch`]es.
//! In: a signal or `/quitquitquit`. Out: every watcher learns the deadline; the trigger learns when
//! the last watcher is gone. A watcher held is work not finished: drop it when the work ends.

use crate::env::Reader;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Starts a drain and waits for its end. Clones start the same drain.
#[derive(Debug, Clone)]
pub struct Trigger {
    sender: watch::Sender<Option<Drain>>,
}

/// Learns of a drain. Holding one (or a clone) keeps [`Trigger::finished`] waiting.
#[derive(Debug, Clone)]
pub struct Watch {
    receiver: watch::Receiver<Option<Drain>>,
}

/// A drain that has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drain {
    /// When work that has not ended by itself must be cut.
    pub deadline: Instant,
}

/// How a drain ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    /// Every watcher was dropped in time.
    Clean,
    /// The deadline passed with watchers left.
    DeadlinePassed,
}

/// How long work may take to end: `CONNECTION_TERMINATION_DEADLINE`, else the pod's grace period
/// (`TERMINATION_GRACE_PERIOD_SECONDS`) less a margin in which the process itself can end.
pub fn time(reader: &Reader<'_>) -> Duration {
    let default = match reader.optional::<u64>("TERMINATION_GRACE_PERIOD_SECONDS") {
        Some(seconds) if seconds > 10 => seconds - 5,
        Some(seconds) => seconds.saturating_sub(1).max(1),
        None => 5,
    };
    reader.duration(
        "CONNECTION_TERMINATION_DEADLINE",
        Duration::from_secs(default),
    )
}

/// A trigger and its first watch.
pub fn channel() -> (Trigger, Watch) {
    let (sender, receiver) = watch::channel(None);
    (Trigger { sender }, Watch { receiver })
}

impl Trigger {
    /// Begins the drain; work has `grace` to end. A later call never extends the deadline.
    pub fn start(&self, grace: Duration) {
        let deadline = Instant::now() + grace;
        self.sender.send_if_modified(|state| match state {
            Some(drain) if drain.deadline <= deadline => false,
            _ => {
                *state = Some(Drain { deadline });
                true
            }
        });
    }

    /// Whether the drain has begun.
    pub fn is_started(&self) -> bool {
        self.sender.borrow().is_some()
    }

    /// One more watch.
    pub fn watch(&self) -> Watch {
        Watch {
            receiver: self.sender.subscribe(),
        }
    }

    /// Waits until a drain has begun and all watches are dropped, or its deadline has passed.
    pub async fn finished(&self) -> Finished {
        let mut state = self.sender.subscribe();
        let drain = match state.wait_for(Option::is_some).await {
            Ok(drain) => drain.expect("wait_for returned on Some"),
            Err(_) => return Finished::Clean,
        };
        drop(state);
        match tokio::time::timeout_at(drain.deadline, self.sender.closed()).await {
            Ok(()) => Finished::Clean,
            Err(_) => Finished::DeadlinePassed,
        }
    }
}

impl Watch {
    /// Waits for the drain to begin. When every trigger is gone it counts as begun with no time
    /// left: nobody could ever ask again.
    pub async fn signalled(&mut self) -> Drain {
        match self.receiver.wait_for(Option::is_some).await {
            Ok(drain) => drain.expect("wait_for returned on Some"),
            Err(_) => Drain {
                deadline: Instant::now(),
            },
        }
    }

    /// The drain, when it has begun.
    pub fn begun(&self) -> Option<Drain> {
        *self.receiver.borrow()
    }

    /// Waits for the drain's deadline, also when it moves closer meanwhile.
    pub async fn expired(&mut self) {
        let mut drain = self.signalled().await;
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(drain.deadline) => return,
                changed = self.receiver.changed() => match changed {
                    Ok(()) => drain = self.receiver.borrow_and_update().unwrap_or(drain),
                    Err(_) => {
                        tokio::time::sleep_until(drain.deadline).await;
                        return;
                    }
                },
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn ends_clean_when_watchers_go() {
        let (trigger, watch) = channel();
        trigger.start(Duration::from_secs(30));
        let mut w = watch.clone();
        drop(watch);
        let t = trigger.clone();
        let (finished, ()) = tokio::join!(t.finished(), async move {
            w.signalled().await;
            drop(w);
        });
        assert_eq!(finished, Finished::Clean);
    }

    #[tokio::test]
    async fn deadline_only_moves_closer() {
        let (trigger, mut watch) = channel();
        assert!(watch.begun().is_none());
        trigger.start(Duration::from_secs(50));
        let first = watch.signalled().await;
        trigger.start(Duration::from_secs(500));
        assert_eq!(watch.begun(), Some(first));
        trigger.start(Duration::ZERO);
        assert!(watch.begun().unwrap().deadline < first.deadline);
        watch.expired().await;
        assert_eq!(trigger.finished().await, Finished::DeadlinePassed);
    }
}
