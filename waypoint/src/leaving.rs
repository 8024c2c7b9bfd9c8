//! The time between the order to stop and the drain: others learn from the control plane that we go, and
//! until they have, they come here. So everything is served as before until nobody comes any more.
//! In: the order, what workers count. Out: readiness withdrawn at once, then the drain.
//! Owns: nothing. Must not happen here: a wait beyond half of the time there is to stop.

use ambit_runtime::drain::{Trigger, Watch};
use ambit_runtime::readiness::Gate;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// Nobody has come for so long: all have learnt.
const QUIET: Duration = Duration::from_secs(2);
/// How often workers are asked.
const PAUSE: Duration = Duration::from_millis(100);

/// What one worker was asked for: tunnels, streams, plaintext connections.
#[derive(Clone, Debug, Default)]
pub struct Arrivals(Arc<AtomicU64>);

impl Arrivals {
    /// Somebody came.
    pub(crate) fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn so_far(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Waits for the order, then for silence, and starts the drain with what is left of the time.
pub(crate) async fn run(mut order: Watch, ready: Gate, arrivals: Vec<Arrivals>, drain: Trigger) {
    let deadline = order.signalled().await.deadline;
    ready.close();
    let begun = Instant::now();
    let longest = deadline.saturating_duration_since(begun) / 2;
    let total = || arrivals.iter().map(Arrivals::so_far).sum::<u64>();
    let (mut seen, mut since) = (total(), begun);
    while since.elapsed() < QUIET && begun.elapsed() < longest {
        tokio::time::sleep(PAUSE).await;
        let now = total();
        if now != seen {
            (seen, since) = (now, Instant::now());
        }
    }
    let left = deadline.saturating_duration_since(Instant::now());
    tracing::info!(after = ?begun.elapsed(), ?left, "nothing new is accepted");
    drain.start(left);
}

#[cfg(test)]
mod tests {
    use super::*;
    use ambit_runtime::drain;
    use ambit_runtime::readiness::Readiness;

    const GRACE: Duration = Duration::from_secs(20);

    /// How long after the order the drain begins, if somebody comes every second for `visits` seconds.
    async fn drain_begins_after(visits: u32) -> Duration {
        let ((order, ordered), (trigger, mut drained)) = (drain::channel(), drain::channel());
        let (readiness, arrivals) = (Readiness::new(), Arrivals::default());
        let gate = readiness.gate("staying");
        gate.open();
        let leaving = run(
            ordered,
            gate,
            vec![Arrivals::default(), arrivals.clone()],
            trigger,
        );
        let visiting = async {
            for _ in 0..visits {
                tokio::time::sleep(Duration::from_secs(1)).await;
                arrivals.count();
            }
            std::future::pending::<()>().await;
        };
        assert!(readiness.is_ready());
        let begun = Instant::now();
        order.start(GRACE);
        let ended = async {
            let drain = drained.signalled().await;
            assert!(!readiness.is_ready(), "withdrawn first");
            assert_eq!(drain.deadline, begun + GRACE);
            begun.elapsed()
        };
        tokio::select! {
            ((), after) = async { tokio::join!(leaving, ended) } => after,
            () = visiting => unreachable!("it never ends"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn serves_on_until_nobody_comes() {
        let alone = drain_begins_after(0).await;
        assert!(alone >= QUIET && alone < QUIET * 2, "{alone:?}");
        let after = drain_begins_after(4).await;
        let last = Duration::from_secs(4);
        assert!(
            after >= last + QUIET && after < last + QUIET * 2,
            "{after:?}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn never_longer_than_half_of_the_time() {
        let after = drain_begins_after(1000).await;
        assert!(
            after >= GRACE / 2 && after < GRACE / 2 + PAUSE * 2,
            "{after:?}"
        );
    }
}
