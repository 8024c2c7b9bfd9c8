//! The chained CNI plugin `ambit-cni`.
//! In: `CNI_*` variables and the network configuration on stdin. Out: a result or an error object on stdout.
//! Owns nothing: the agent enrolls; the plugin asks it and fails the pod rather than start it un-captured.
//! Must not happen here: a mesh pod that starts because nobody answered; a DEL that fails.
//! Spec: CNI 1.1.0 (containernetworking/cni SPEC.md), accepted versions 0.3.1 to 1.1.0.
#![forbid(unsafe_code)]

mod agent;
mod error;
mod invocation;
pub mod known;
mod log;
mod netconf;
mod plugin;
pub mod wire;

pub use error::{CniError, Code};
pub use plugin::{Finished, run};
