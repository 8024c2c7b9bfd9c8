//! Executes plans: statuses and generated objects.
//! In: the plan of a batch. Out: files by rename, or requests to the API server, there by the leader
//! only. A write that fails is logged, counted and tried again.

mod cluster;
mod directory;
mod handover;

pub(crate) use cluster::ClusterWrites;
pub(crate) use directory::DirectoryWrites;

use crate::metrics::Metrics;
use ambit_crds::{Object, ObjectKey};
use ambit_index::{Index, Plan, Write};
use serde_json::{Value, json};

/// Writes of one controller.
#[derive(Debug)]
pub(crate) enum Executor {
    /// Into the directory that objects come from.
    Directory(DirectoryWrites),
    /// To the API server.
    Cluster(ClusterWrites),
}

impl Executor {
    /// Executes a plan and what is left of former ones, or leaves it to the task that does.
    pub(crate) async fn execute(&mut self, plan: Plan, index: &Index, metrics: &Metrics) {
        match self {
            Self::Directory(writes) => writes.execute(plan, index, metrics).await,
            Self::Cluster(writes) => writes.plan(plan, index),
        }
    }

    /// Waits until this replica becomes the leader; for ever where all may write.
    pub(crate) async fn elected(&mut self) {
        match self {
            Self::Directory(_) => std::future::pending().await,
            Self::Cluster(writes) => writes.elected().await,
        }
    }

    /// Writes all that is not as it should be: another replica may have written last.
    pub(crate) fn renew(&self, index: &Index) {
        if let Self::Cluster(writes) = self {
            writes.renew(index);
        }
    }
}

fn key(write: &Write) -> &ObjectKey {
    match write {
        Write::Status { key, .. } | Write::Object { key, .. } | Write::Remove { key } => key,
    }
}

/// The part of an object's status that we may have written, as the object carries it.
fn status_of(object: &Object) -> Option<Value> {
    match object {
        Object::Service(o) => serde_json::to_value(o.status.as_ref()?).ok(),
        Object::Gateway(o) => Some(json!({"conditions": o.status.as_ref()?.conditions})),
        Object::HttpRoute(o) => o.status.clone(),
        Object::GrpcRoute(o) => o.route.status.clone(),
        Object::IstioGateway(o) => o.status.clone(),
        Object::VirtualService(o) => o.status.clone(),
        Object::DestinationRule(o) => o.status.clone(),
        Object::ServiceEntry(o) => o.status.clone(),
        Object::WorkloadEntry(o) => o.status.clone(),
        Object::AuthorizationPolicy(o) => o.status.clone(),
        Object::PeerAuthentication(o) => o.status.clone(),
        Object::Unserved(o) => o.status.clone(),
        _ => None,
    }
}
