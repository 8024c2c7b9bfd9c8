//! Bringing one pod from where it is to where it should be.
//! In: desired and actual state. Out: ordered steps (pure, `plan`), then the steps done (`execute`).
//! Owns: nothing; the record of a pod (`pod`) belongs to the reconcile task.
//! Must not happen here: ENROLLED before listeners and steer, or listeners closed under live connections.

pub mod addresses;
pub mod execute;
pub mod older;
pub mod plan;
pub mod pod;
pub mod quiet;
mod rerouting;
pub mod routing;
