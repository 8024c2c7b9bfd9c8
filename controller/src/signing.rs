//! What signs now and what is trusted: what the keeper of the authority tells everybody else.
//! In: [`Signing`]. Out: the latest one, watched. Must not happen here: a change of it.

use ambit_ca::authority::Authority;
use ambit_ca::roots::Roots;
use ambit_ca::rotation::Step;
use std::sync::Arc;
use tokio::sync::watch;

/// What signs now, and what is trusted.
#[derive(Clone)]
pub(crate) struct Signing {
    /// Signs, and sends all that is trusted along.
    pub(crate) authority: Authority,
    /// What is published.
    pub(crate) published: Roots,
    /// Lists of revoked certificates that are published, PEM; empty without any.
    pub(crate) revoked: Arc<str>,
    /// What is still to be done until only the authority's own roots are.
    pub(crate) pending: Option<Step>,
    /// Why the set that lies there is not used; `None` while it is.
    pub(crate) refusal: Option<String>,
}

/// The latest [`Signing`].
pub(crate) type Signer = watch::Receiver<Arc<Signing>>;

/// What signs now.
pub(crate) fn current(signer: &Signer) -> Arc<Signing> {
    signer.borrow().clone()
}
