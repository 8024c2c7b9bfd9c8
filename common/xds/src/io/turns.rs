//! Who may be answered with everything there is: a few at a time.
//! Such an answer is megabytes in a large mesh, and when a controller starts every node asks for it at
//! once. A turn lasts until the client has answered, or for a while; a client that does not read delays
//! others, but keeps nobody out.

use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};

/// Turns at the same time.
const AT_ONCE: usize = 6;
/// Answers with fewer resources need no turn.
const LARGE: usize = 1_000;
/// Longest turn.
const LASTS: Duration = Duration::from_secs(5);
/// Longest wait; whoever waited this long is answered all the same.
const WAIT: Duration = Duration::from_secs(120);

/// Hands out turns. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Turns(Arc<Semaphore>);

/// One turn; it ends with the value.
#[derive(Debug)]
pub(super) struct Turn {
    _permit: Option<OwnedSemaphorePermit>,
    /// When it is over in any case.
    pub(super) end: Instant,
}

impl Default for Turns {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

impl Turns {
    /// Waits for a turn, in the order of asking.
    pub(super) async fn next(self) -> Turn {
        let permit = timeout(WAIT, self.0.acquire_owned()).await;
        Turn {
            // The semaphore is never closed.
            _permit: permit.ok().and_then(Result::ok),
            end: Instant::now() + LASTS,
        }
    }

    /// Whether an answer with so many resources needs one.
    pub(super) fn needed(resources: usize) -> bool {
        resources >= LARGE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    #[tokio::test]
    async fn turns_are_few_and_given_back() {
        let turns = Turns::default();
        let mut held = Vec::new();
        for _ in 0..AT_ONCE {
            held.push(turns.clone().next().await);
        }
        assert!(turns.clone().next().now_or_never().is_none());
        drop(held.pop());
        assert!(turns.next().await._permit.is_some());
    }
}
