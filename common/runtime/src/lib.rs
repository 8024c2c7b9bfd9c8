//! What every Ambit process needs around its real work.
//! In: the process environment, signals, listening sockets for admin ports. Out: typed settings, a
//! drain that everything watches, supervised tasks, HTTP answers for admin, metrics and readiness.
//! Owns: nothing of the mesh. Must not: decide about traffic, or know what a program's routes mean.
//! Spec: OpenMetrics 1.0 and Prometheus text 0.0.4 (`metrics`), RFC 9112 (`admin`).
#![forbid(unsafe_code)]

pub mod admin;
pub mod build_info;
pub mod causes;
pub mod drain;
pub mod env;
pub mod metrics;
pub mod open_files;
pub mod readiness;
pub mod signal;
pub mod tasks;
