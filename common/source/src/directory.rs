//! The directory source: watches `DIR/*.{yaml,yml,json}` and `DIR/.status`.
//! In: file system events. Out: [`crate::Batch`]es. Owns: the catalogue of last good documents.
//! Files are read after they were closed or renamed into place, never while they are written.
//! An empty or unreadable file removes nothing; deleting the file does.

mod catalog;
mod document;
mod events;
mod merge;
mod tree;
mod watch;

pub(crate) use document::{Content, identify, judge, parse_yaml};
pub(crate) use tree::{STATUS_DIR, StatusPath};

pub use crate::watch::{Watch, WatchError};
pub use watch::{load, watch};
