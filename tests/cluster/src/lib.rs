//! A real Kubernetes cluster on one machine: a control plane and nodes, each with its own namespaces.
//! In: a name, a number of nodes, the Go sources of `deploy/cluster`. Out: a cluster that `kubectl`
//! and tests talk to from the network namespace of its control plane.
//! Owns: everything called `kb-<name>-…` (network namespaces, control groups) and one state directory;
//! the rest of the machine stays as it is.
//! Never here: anything about Ambit. It is the machine that a user would bring.
//! Spec: Kubernetes 1.34; OCI image layout 1.0.
#![forbid(unsafe_code)]

mod base;
mod binaries;
mod cgroups;
mod configuration;
mod down;
mod go;
pub mod image;
pub mod init;
mod kubectl;
mod load;
mod module;
mod names;
mod network;
mod pki;
mod preflight;
mod process;
mod progress;
mod readiness;
mod samples;
mod smoke;
mod state;
mod status;
mod sweep;
mod up;

pub use binaries::{Binaries, KUBERNETES_VERSION, cache};
pub use down::down;
pub use kubectl::{enter_control_plane, kubectl};
pub use load::load;
pub use module::Module;
pub use names::{ClusterName, NodeNumber, Role};
pub use preflight::{install_packages, install_programs, machine};
pub use progress::say;
pub use samples::samples;
pub use smoke::smoke;
pub use state::{ApiOptions, Directory, Shape};
pub use status::status;
pub use up::{Init, kill_node, start_node, up};
