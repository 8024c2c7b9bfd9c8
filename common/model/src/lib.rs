//! Domain types of the mesh and the immutable, indexed [`snapshot::Snapshot`] every decision reads.
//! In: protobuf messages, through `convert`, the only fallible door. Out: plain values.
//! No IO, no clock, no locks.
#![forbid(unsafe_code)]

pub mod address;
pub mod authorization;
pub mod convert;
pub mod ids;
pub mod route;
pub mod service;
pub mod snapshot;
pub mod waypoint;
pub mod workload;

pub use ids::SpiffeId;
pub use snapshot::Snapshot;
