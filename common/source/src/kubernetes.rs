//! The API server as a source: one watch per kind in, [`crate::Batch`]es out; writes by server-side apply.
//! In: lists and watches of [`Kinds`]. Out: [`crate::Watch`], [`Writer`], single reads and requests.
//! Owns: the last good version of every object (`catalog`), one task per kind (`feed`).
//! Must not happen here: a decision about objects, an unbounded queue, a request without a deadline.
//! Spec: Kubernetes API concepts (watch, server-side apply), `metav1.Status`.

mod catalog;
mod config_maps;
mod connect;
mod crds;
mod feed;
mod kinds;
mod request;
mod trim;
mod watch;
mod write;

pub use connect::{ConnectError, connect};
pub use kinds::Kinds;
pub use kube::Client;
pub use request::{Address, Cause, RequestError, create, read, replace};
pub use watch::watch;
pub use write::{Outcome, Writer};
