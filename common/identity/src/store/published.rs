//! The roots that the authority publishes in a file, and what they mean for a certificate of ours.
//! In: PEM, certificates. Out: which roots a certificate is used with, and whether it is of the first one. Pure
//! but for the clock.
//! Must not happen here: roots of the file used for peers when it is about something else than our
//! authority, such as a public one.

use crate::bundle::{BundleError, TrustBundle};
use crate::svid::Svid;
use crate::verify::{self, Chain};
use rustls_pki_types::UnixTime;
use std::sync::Arc;

/// What a file of roots says.
#[derive(Debug)]
pub(super) struct Published {
    pem: String,
    roots: Result<Arc<TrustBundle>, BundleError>,
    /// What it said before, while it cannot be read.
    last: Option<Arc<TrustBundle>>,
}

impl Published {
    pub(super) fn read(pem: String) -> Self {
        Self {
            roots: TrustBundle::from_pem(pem.as_bytes()).map(Arc::new),
            pem,
            last: None,
        }
    }

    /// Keeps what counted before.
    pub(super) fn after(mut self, before: Option<Self>) -> Self {
        self.last = before.and_then(|before| before.bundle().cloned());
        self
    }

    pub(super) fn pem(&self) -> &str {
        &self.pem
    }

    pub(super) fn error(&self) -> Option<&BundleError> {
        self.roots.as_ref().err()
    }

    pub(super) fn len(&self) -> usize {
        self.bundle().map_or(0, |bundle| bundle.roots().len())
    }

    fn bundle(&self) -> Option<&Arc<TrustBundle>> {
        self.roots.as_ref().ok().or(self.last.as_ref())
    }

    /// Whether another root comes first in `next`.
    pub(super) fn leads_otherwise(&self, next: &Self) -> bool {
        match (self.bundle(), next.bundle()) {
            (Some(now), Some(next)) => now.roots().first() != next.roots().first(),
            _ => false,
        }
    }

    /// Whether the certificate is of one of the roots.
    pub(super) fn knows(&self, svid: &Svid) -> bool {
        self.place(svid).is_some()
    }

    /// The roots a certificate that is in use is used with from now on, where they are others.
    pub(super) fn replacing(&self, svid: &Svid) -> Option<Arc<TrustBundle>> {
        let bundle = self.bundle()?;
        let ours = bundle.shares_root(svid.bundle()) || self.knows(svid);
        (ours && bundle != svid.bundle()).then(|| bundle.clone())
    }

    /// A certificate that has just come, used with the roots that came with it and those of the file; and
    /// whether there is nothing to wait for: it is of the first root, or the file is not about its authority.
    pub(super) fn joined(&self, svid: Svid) -> (Svid, bool) {
        let Some(bundle) = self.bundle() else {
            return (svid, true);
        };
        let place = self.place(&svid);
        if place.is_none() && !bundle.shares_root(svid.bundle()) {
            return (svid, true);
        }
        let both = bundle.and(svid.bundle());
        let svid = match both == **svid.bundle() {
            true => svid,
            false => svid.trusting(Arc::new(both)),
        };
        (svid, place == Some(0))
    }

    fn place(&self, svid: &Svid) -> Option<usize> {
        let (leaf, intermediates) = svid.chain().split_first()?;
        let chain = Chain {
            leaf,
            intermediates,
            now: UnixTime::now(),
        };
        verify::root_of(self.bundle()?, chain).ok()
    }
}
