//! News of the source.

use super::Reconciler;
use crate::events::Facts;
use crate::intent::{Intent, virtual_interfaces};
use ambit_runtime::causes::causes;

impl Reconciler {
    pub(super) async fn learn(&mut self, facts: Facts) {
        let complete = facts.complete;
        self.seen.update(facts);
        if !self.seen.is_complete() {
            return;
        }
        if complete {
            self.synced.open();
            self.forget_old_words();
        }
        self.review().await;
    }

    pub(super) async fn set_outside(&mut self, outside: bool) {
        self.seen.set_outside(outside);
        if self.seen.is_complete() {
            self.review().await;
        }
    }

    /// Brings every pod to what is known now.
    async fn review(&mut self) {
        self.admit_arrivals().await;
        self.remember();
        for slot in self.slots() {
            if self.revise(slot).await {
                self.advance(slot).await;
            }
        }
        self.retry_unborn().await;
    }

    /// Takes over what the source says of one pod. A pod whose object is gone keeps its intent: its
    /// processes end only with the sandbox, and they must not lose the mesh before.
    async fn revise(&mut self, slot: u32) -> bool {
        let Some(pod) = self.pods.get_mut(&slot) else {
            return false;
        };
        let uid = Some(pod.entry.uid.as_str()).filter(|uid| !uid.contains('/'));
        let Some(facts) = self.seen.pod(&pod.entry.namespace, &pod.entry.name, uid) else {
            return false;
        };
        if pod.entry.service_account != facts.service_account {
            pod.entry.service_account.clone_from(&facts.service_account);
            if let Err(error) = self.journal.write(&pod.entry) {
                tracing::error!(slot, error = %causes(&error), "journal entry not written");
            }
        }
        let intent = self.seen.intent(&facts, &self.excluded);
        let virtual_interfaces = virtual_interfaces(&facts);
        if pod.intent == Some(intent) && pod.virtual_interfaces == virtual_interfaces {
            return false;
        }
        if let Intent::StayOut(reason) = intent {
            tracing::info!(workload = %pod.entry.uid, reason = reason.text(), "pod stays out of the mesh");
        }
        let joined = matches!(pod.intent, Some(Intent::Enroll(_)) | None);
        pod.intent = Some(intent);
        pod.virtual_interfaces = virtual_interfaces;
        // Only the options differ: they can be changed under a captured pod.
        if joined
            && pod.actual.steered
            && matches!(intent, Intent::Enroll(_))
            && let Err(error) = self.executor.change_options(pod).await
        {
            tracing::warn!(slot, error = %causes(&error), "options not written");
        }
        true
    }

    /// Pods that went while no agent ran.
    fn forget_old_words(&self) {
        let mine = |namespace: &str, name: &str| {
            let mut pods = self.pods.values();
            pods.any(|pod| pod.entry.namespace == namespace && pod.entry.name == name)
        };
        if let Err(error) = self.executor.forget_others(mine) {
            tracing::warn!(error = %causes(&error), "old annotations not removed");
        }
    }

    fn remember(&mut self) {
        let known = self.seen.known(&self.excluded);
        if self.known.as_ref() == Some(&known) {
            return;
        }
        match known.write(&self.known_file) {
            Ok(()) => self.known = Some(known),
            Err(error) => {
                tracing::error!(path = %self.known_file.display(), %error, "state file not written");
            }
        }
    }
}
