//! Keeps the certificates of all pods on the node ready.
//! In: the pods served and the snapshot, which knows their trust domain. Out: one lease per identity,
//! so that the first connection need not wait. Owns: the leases, and only those.

use crate::gather;
use crate::pod::Pod;
use crate::state::State;
use ambit_identity::{Lease, Priority, SecretStore};
use ambit_model::ids::SpiffeId;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::watch;

/// Follows pods and snapshot until the list of pods is gone.
pub async fn run(
    secrets: SecretStore,
    state: Arc<State>,
    mut pods: watch::Receiver<Vec<Arc<Pod>>>,
) {
    let mut leases: BTreeMap<SpiffeId, Lease> = BTreeMap::new();
    let mut changes = state.changes();
    loop {
        changes.mark_unchanged();
        let wanted: BTreeSet<SpiffeId> = pods
            .borrow_and_update()
            .iter()
            .filter_map(|pod| gather::find(&state, pod).ok())
            .map(|own| own.workload.identity.clone())
            .collect();
        leases.retain(|id, _| wanted.contains(id));
        for id in wanted {
            leases
                .entry(id)
                .or_insert_with_key(|id| secrets.lease(id, Priority::Warmup));
        }
        tokio::select! {
            changed = pods.changed() => if changed.is_err() { return },
            _ = changes.changed() => {}
        }
    }
}
