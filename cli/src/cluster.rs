//! A Kubernetes cluster: found by kubeconfig, objects applied, deleted and read, workloads awaited.
//! In: `--kubeconfig`, `--context`. Out: [`Cluster`]. Every request has a deadline.
//! Must not happen here: a decision about what is installed (`install`).

mod connect;
mod forward;
mod objects;
mod pods;
mod ready;
mod reason;

pub(crate) use connect::{Chosen, Cluster};
pub(crate) use objects::{Applied, name_of};
pub(crate) use ready::{Workload, established, progress};
pub(crate) use reason::trouble;
