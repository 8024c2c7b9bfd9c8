//! A lab: nodes as network namespaces with the real programs on them, and pods that run.
//! In: a directory of Kubernetes YAML. Out: a running mesh that tests and demos look at and break.
//! Owns: everything named after the lab: namespaces, a cgroup subtree, a run directory, processes. All
//! of it goes when the [`Lab`] is dropped, and a crashed lab is swept up by the next of its name.
//! Never here: expectations; those are the callers'.
//! Spec: ARCHITECTURE.md, "Lab" and "The directory as an API".
#![forbid(unsafe_code)]

pub mod cgroup;
pub mod client;
pub mod cluster;
pub mod demo;
pub mod dns;
pub mod families;
pub mod feed;
pub mod fetch;
pub mod kubelet;
pub mod lab;
pub mod launch;
pub mod names;
pub mod netns;
pub mod network;
pub mod prober;
pub mod process;
pub mod prometheus;
pub mod service_nat;
pub mod tokens;
pub mod tool;
pub mod wait;
pub mod wire;

pub use families::Families;
pub use lab::{Lab, LabBuilder, LabError};
pub use wait::{NotYet, until};
