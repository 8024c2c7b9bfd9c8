//! Pods and namespaces as the source last told them, for the tasks beside the reconcile task.
//! In: what the source tells. Out: pods that should be in the mesh, and the word that none should.
//! Owns a copy of the source's state. Must not happen here: a change of a pod.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::events::Facts;
use crate::facts::Seen;
use crate::intent::{Intent, PodFacts};

/// What is known of this node's pods. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Roster(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    seen: Mutex<Seen>,
    changed: Notify,
}

impl Roster {
    /// Takes over what the source told.
    pub fn update(&self, facts: &Facts) {
        self.seen().update(facts.clone());
        self.0.changed.notify_one();
    }

    /// Waits for the next update. For one waiting task only.
    pub async fn changed(&self) {
        self.0.changed.notified().await;
    }

    /// Pods that should be in the mesh and have their addresses already; none before the source has
    /// told everything once.
    pub fn wanted(&self, excluded: &[String]) -> Vec<PodFacts> {
        let seen = self.seen();
        let wanted = seen.pods().filter(|pod| {
            !pod.ips.is_empty() && matches!(seen.intent(pod, excluded), Intent::Enroll(_))
        });
        wanted.cloned().collect()
    }

    /// Whether the source has a pod of that name now.
    pub fn has(&self, namespace: &str, name: &str) -> bool {
        self.seen().pod(namespace, name, None).is_some()
    }

    /// Whether there is a proxy's pod on this node; `None` before the source has told everything once.
    pub fn has_proxies(&self, namespace: &str) -> Option<bool> {
        let seen = self.seen();
        let found = seen.pods().any(|pod| pod.is_proxy(namespace));
        seen.is_complete().then_some(found)
    }

    /// Sets whether all pods stay outside, whatever they say.
    pub fn set_outside(&self, outside: bool) {
        self.seen().set_outside(outside);
        self.0.changed.notify_one();
    }

    /// What the source would tell if every pod had opted out.
    pub fn everyone_out(&self) -> Facts {
        self.seen().everyone_out()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
