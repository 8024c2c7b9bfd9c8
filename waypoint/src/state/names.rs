//! What names of endpoints resolve to now.
//! In: answers, from `crate::names`, the only writer. Out: addresses, whenever an endpoint is chosen.

use arc_swap::ArcSwap;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// What names resolve to. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(Arc<ArcSwap<ByName>>);

type ByName = BTreeMap<Arc<str>, Arc<[IpAddr]>>;

impl Names {
    /// Addresses of a name, those of the better family first; none while they are not known.
    pub(crate) fn of(&self, hostname: &str) -> Arc<[IpAddr]> {
        self.0.load().get(hostname).cloned().unwrap_or_default()
    }

    /// Replaces all answers.
    pub(crate) fn set(&self, known: ByName) {
        self.0.store(Arc::new(known));
    }
}
