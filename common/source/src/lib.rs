//! Where objects come from and where statuses go.
//! In: a directory of plain Kubernetes YAML and the status tree beside it. Out: [`Batch`]es of parsed
//! [`ambit_crds::Object`]s with every problem; status documents written by rename.
//! Owns: the last good version of every document. Must not: judge objects against each other.
//! Spec: ARCHITECTURE.md, "The directory as an API".
#![forbid(unsafe_code)]

mod batch;
pub mod directory;
pub mod status;

pub use batch::{Batch, Change, Problem};
pub use directory::{Watch, WatchError, load, watch};
pub use status::{WriteError, Writer};
