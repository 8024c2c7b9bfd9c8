//! Writing the annotation to an API server.
//! In: words and pods, from any task. Out: merge patches on `pods/status`, one at a time, until they stand.
//! Owns the board; the task that runs [`Cluster::write`] owns the way to the server.
//! Must not happen here: a task that waits for the API server before it goes on with pods.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ambit_api::labels;
use ambit_runtime::causes::causes;
use ambit_source::kubernetes::{self, Writer};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until, timeout};

use super::Announced;
use super::board::{Board, Outcome, Patch};
use crate::events::Facts;

/// The annotations of this node's pods. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Cluster(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    board: Mutex<Board>,
    news: Notify,
    settled: Notify,
    failures: Counter,
}

impl Cluster {
    /// Adds the series to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "ambit_annotation_failures",
            "Annotations that could not be written and will be tried again",
            self.0.failures.clone(),
        );
    }

    /// Pods as the source tells them.
    pub fn observe(&self, facts: &Facts) {
        self.board().observe(facts);
        self.0.news.notify_one();
    }

    /// Writes what is due, for ever.
    pub async fn write(self, writer: Writer) {
        loop {
            let due = self.board().due(Instant::now());
            for patch in &due {
                let outcome = self.patch(&writer, patch).await;
                self.board().tried(patch, outcome, Instant::now());
            }
            if !due.is_empty() {
                self.0.settled.notify_waiters();
                continue;
            }
            let next = self.board().next();
            tokio::select! {
                () = self.0.news.notified() => {}
                () = sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
            }
        }
    }

    /// Waits until everything stands, at most this long; says whether it does.
    pub async fn settled(&self, patience: Duration) -> bool {
        let all = async {
            loop {
                let changed = self.0.settled.notified();
                if self.board().is_settled() {
                    return;
                }
                changed.await;
            }
        };
        timeout(patience, all).await.is_ok()
    }

    pub(super) fn say(&self, uid: &str, word: Announced) {
        self.board().say(uid, word);
        self.0.news.notify_one();
    }

    pub(super) fn forget_others(&self, mine: impl Fn(&str, &str) -> bool) {
        self.board().forget_others(mine);
        self.0.news.notify_one();
    }

    async fn patch(&self, writer: &Writer, patch: &Patch) -> Outcome {
        let annotation = (
            labels::REDIRECTION.to_owned(),
            patch.value.map(str::to_owned),
        );
        let annotations = BTreeMap::from([annotation]);
        let pod = (patch.namespace.as_str(), patch.name.as_str());
        match writer
            .annotate_pod(pod, Some(&patch.uid), &annotations)
            .await
        {
            Ok(kubernetes::Outcome::Done) => Outcome::Written,
            Ok(kubernetes::Outcome::Absent) => Outcome::PodGone,
            Err(error) => {
                self.0.failures.inc();
                tracing::warn!(
                    workload = %format_args!("{}/{}", patch.namespace, patch.name),
                    error = %causes(&error), "redirection annotation not written"
                );
                Outcome::Failed
            }
        }
    }

    fn board(&self) -> MutexGuard<'_, Board> {
        self.0.board.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
