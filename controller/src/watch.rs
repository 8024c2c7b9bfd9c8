//! The index task: batches of the source → index → facts, resources, writes.
//! Owns: the index. One batch at a time, in order; a batch is published before its writes are done,
//! and the writes come back as a batch of their own. Between publications is a pause.

mod refusals;

use crate::facts::{Facts, SharedFacts, Touched};
use crate::metrics::Metrics;
use crate::write::Executor;
use ambit_index::{Audience, Change, Index, ResourceChange};
use ambit_runtime::causes::causes;
use ambit_runtime::drain;
use ambit_runtime::readiness::Gate;
use ambit_source::{Batch, Watch};
use ambit_xds::ResourceSet;
use refusals::Refusals;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Pause after the source could not be read.
const RETRY: Duration = Duration::from_secs(1);
/// Pause after a publication. What changes meanwhile is one batch, so that a cluster that never rests costs no
/// more than so many answers of every proxy, and each has time for them: what refers to others is sent to it
/// when those were answered and do not differ again.
const REST: Duration = Duration::from_millis(50);

/// Everything the task works with.
pub(crate) struct IndexTask {
    pub(crate) source: Watch,
    pub(crate) index: Index,
    pub(crate) executor: Executor,
    pub(crate) facts: SharedFacts,
    /// Namespaces that are not being deleted.
    pub(crate) namespaces: watch::Sender<Arc<BTreeSet<String>>>,
    /// Whether objects that name no revision are ours to write about.
    pub(crate) holds_default: watch::Sender<bool>,
    pub(crate) sets: watch::Sender<Arc<ResourceSet>>,
    pub(crate) metrics: Metrics,
    /// Opens after the first batch.
    pub(crate) synced: Gate,
    /// Told after the first batch: nothing is served before it, since a proxy would take an empty
    /// answer for the whole configuration.
    pub(crate) first: watch::Sender<bool>,
    /// No batch is taken before this.
    pub(crate) rested: Instant,
}

impl IndexTask {
    /// Runs until the drain begins.
    pub(crate) async fn run(mut self, mut drain: drain::Watch) {
        let mut refusals = Refusals::default();
        loop {
            let next = async {
                sleep_until(self.rested).await;
                self.source.next().await
            };
            let batch = tokio::select! {
                _ = drain.signalled() => return,
                () = self.executor.elected() => {
                    self.executor.renew(&self.index);
                    continue;
                }
                batch = next => batch,
            };
            match batch {
                Ok(batch) => self.apply(batch, &mut refusals).await,
                Err(error) => {
                    self.metrics.source_errors.inc();
                    tracing::error!(error = %causes(&error), "the source cannot be read");
                    tokio::select! {
                        _ = drain.signalled() => return,
                        () = tokio::time::sleep(RETRY) => {}
                    }
                }
            }
        }
    }

    async fn apply(&mut self, batch: Batch, refusals: &mut Refusals) {
        let started = Instant::now();
        for change in &batch.changes {
            let event = match change {
                ambit_source::Change::Upsert(_) => "update",
                ambit_source::Change::Delete(_) => "delete",
            };
            self.metrics.config_event(change.key().kind.as_str(), event);
        }
        refusals.report(&batch.problems, &self.metrics);
        self.index.set_refused(refusals::by_object(&batch.problems));
        let changes = batch.changes.into_iter().map(|change| match change {
            ambit_source::Change::Upsert(object) => Change::Upsert(object),
            ambit_source::Change::Delete(key) => Change::Delete(key),
        });
        let changes: Vec<Change> = changes.collect();
        let touched = Touched::by(&changes, &self.index);
        let output = self.index.apply(changes);
        let holds = self.index.holds_default();
        self.holds_default
            .send_if_modified(|known| std::mem::replace(known, holds) != holds);
        let facts = Facts::of(&self.index, &self.facts.load(), touched);
        self.namespaces.send_if_modified(|known| {
            let changed = *known != facts.namespaces;
            if changed {
                *known = facts.namespaces.clone();
            }
            changed
        });
        self.facts.store(Arc::new(facts));
        let changed = output.resources.len();
        if changed > 0 {
            let changes = output.resources.into_iter().map(to_xds);
            self.sets
                .send_modify(|set| *set = Arc::new(set.apply(changes)));
            self.metrics.triggers.inc();
            self.rested = Instant::now() + REST;
        }
        self.metrics
            .batch_duration
            .observe(started.elapsed().as_secs_f64());
        self.synced.open();
        self.first.send_replace(true);
        let writes = output.plan.writes.len();
        if changed > 0 || writes > 0 {
            tracing::debug!(resources = changed, writes, "batch applied");
        }
        self.executor
            .execute(output.plan, &self.index, &self.metrics)
            .await;
    }
}

fn to_xds(change: ResourceChange) -> ambit_xds::ResourceChange {
    let audience = |audience| match audience {
        Audience::Everyone => ambit_xds::Audience::Everyone,
        Audience::Nodes => ambit_xds::Audience::Nodes,
        Audience::Gateways(accounts) => ambit_xds::Audience::Gateways(accounts),
    };
    ambit_xds::ResourceChange {
        type_url: change.type_url.into(),
        name: change.name,
        resource: change
            .resource
            .map(|r| ambit_xds::Resource::new(r.body, r.aliases, audience(r.audience))),
    }
}
