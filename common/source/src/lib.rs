//! Where objects come from and statuses go: the directory source.
//! In: YAML files. Out: typed objects as batches of changes, and the problems of the rest.
//! `document`, `merge` and `catalog` are pure; `directory` watches, `status` writes.
//! Must not: drop a good object because another one is bad.
#![forbid(unsafe_code)]

pub mod catalog;
pub mod directory;
pub mod document;
pub mod merge;
pub mod status;

pub use catalog::{Batch, Change, Problem};
pub use directory::{Watch, WatchError, watch};
pub use status::{StatusError, Writer};
