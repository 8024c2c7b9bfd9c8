//! What this proxy knows of the mesh: one [`Snapshot`], replaced whole.
//! In: xDS responses, through `writer`, the only one that stores. Out: [`State::load`] for every
//! decision, and a generation to wait on. Readers never lock.
//! Must not: fetch; hold facts about connections.

pub mod writer;

use ambit_model::Snapshot;
use ambit_model::ids::Generation;
use arc_swap::ArcSwap;
use std::sync::Arc;
use tokio::sync::watch;

/// The current snapshot and the news of its changes.
#[derive(Debug)]
pub struct State {
    current: ArcSwap<Snapshot>,
    changed: watch::Sender<Generation>,
}

impl State {
    /// Starts from a snapshot, normally the empty one.
    pub fn new(snapshot: Snapshot) -> Arc<Self> {
        let (changed, _) = watch::channel(snapshot.generation());
        Arc::new(Self {
            current: ArcSwap::from_pointee(snapshot),
            changed,
        })
    }

    /// The snapshot to decide by. Load it once per decision.
    pub fn load(&self) -> Arc<Snapshot> {
        self.current.load_full()
    }

    /// Wakes when a later snapshot is there. Subscribe before loading.
    pub fn changes(&self) -> watch::Receiver<Generation> {
        self.changed.subscribe()
    }

    /// Replaces the snapshot. Called by the writer task only, so that no change is lost.
    pub fn store(&self, snapshot: Snapshot) {
        let generation = snapshot.generation();
        self.current.store(Arc::new(snapshot));
        self.changed.send_replace(generation);
    }
}
