//! What each endpoint is doing for this worker, and whose turn it is.
//! In: requests that begin. Out: counts the load balancer compares; a guard ends the count.

use ambit_model::ids::{ClusterName, WorkloadUid};
use ambit_routing::http::balance::Turn;
use foldhash::HashMap;
use std::cell::Cell;
use std::rc::Rc;

/// Loads and turns by cluster.
#[derive(Default)]
pub(crate) struct Balance {
    clusters: HashMap<ClusterName, PerCluster>,
}

#[derive(Default)]
struct PerCluster {
    turn: Option<Turn>,
    active: HashMap<WorkloadUid, Rc<Cell<u32>>>,
}

/// One request at one endpoint.
pub(crate) struct Active(Rc<Cell<u32>>);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

/// Endpoints remembered per cluster before those that do nothing are forgotten.
const REMEMBERED: usize = 256;

impl Balance {
    /// Requests `workload` is working on.
    pub(crate) fn active(&self, cluster: &ClusterName, workload: &WorkloadUid) -> u32 {
        let per_cluster = self.clusters.get(cluster);
        per_cluster
            .and_then(|c| c.active.get(workload))
            .map_or(0, |count| count.get())
    }

    /// The turn of a cluster.
    pub(crate) fn turn(
        &mut self,
        cluster: &ClusterName,
        fresh: impl FnOnce() -> Turn,
    ) -> &mut Turn {
        self.clusters
            .entry(cluster.clone())
            .or_default()
            .turn
            .get_or_insert_with(fresh)
    }

    /// One more request.
    pub(crate) fn begin(&mut self, cluster: &ClusterName, workload: &WorkloadUid) -> Active {
        let active = &mut self.clusters.entry(cluster.clone()).or_default().active;
        if active.len() >= REMEMBERED && !active.contains_key(workload) {
            active.retain(|_, count| count.get() > 0);
        }
        let count = active.entry(workload.clone()).or_default();
        count.set(count.get() + 1);
        Active(count.clone())
    }
}
