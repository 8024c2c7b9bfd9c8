//! What `install` and `upgrade` do to a cluster: objects applied, workloads awaited, what is left over
//! deleted, what was done recorded.
//! In: rendered objects. Out: a cluster that has them; the record, a ConfigMap beside them. Owns nothing.
//! Must not happen here: a decision about what is installed (`install`), an object deleted that somebody
//! else made.

mod apply;
mod prune;
mod record;
mod wait;

pub(crate) use apply::{apply, definitions, refuse_helm, refuse_terminating};
pub(crate) use prune::{Surplus, surplus};
pub(crate) use record::{Installed, Record, key, others, read, write};
pub(crate) use wait::wait;
