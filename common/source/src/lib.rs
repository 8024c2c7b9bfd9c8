//! Where objects come from and where statuses go.
//! In: an API server, or a directory of plain Kubernetes YAML and the status tree beside it. Out:
//! [`Batch`]es of parsed [`ambit_crds::Object`]s with every problem; statuses by server-side apply, or
//! by rename. Owns: the last good version of every document. Must not: judge objects against each other.
//! Spec: ARCHITECTURE.md, "The directory as an API"; Kubernetes API concepts.
#![forbid(unsafe_code)]

mod batch;
pub mod directory;
pub mod kubernetes;
pub mod status;
mod told;
mod watch;

pub use batch::{Batch, Change, Problem};
pub use directory::{load, watch};
pub use status::{WriteError, Writer};
pub use watch::{Watch, WatchError};
