//! What time alone brings about: retries, deadlines, quiet pods, sandboxes that are gone.

use std::time::Duration;

use tokio::time::Instant;

use super::{Reconciler, cni};
use crate::enroll::plan::Membership;
use crate::enroll::pod::Pod;
use crate::enroll::quiet::captured_sockets;
use ambit_runtime::causes::causes;

impl Reconciler {
    pub(super) async fn tick(&mut self) {
        let now = Instant::now();
        self.give_up_waiting(now);
        self.admit_arrivals().await;
        for slot in self.slots() {
            let Some(pod) = self.pods.get_mut(&slot) else {
                continue;
            };
            let mut due = pod.retry.is_some_and(|retry| retry.at <= now);
            if !pod.gone && pod.sandbox_is_gone() {
                tracing::info!(workload = %pod.entry.uid, "the sandbox is gone");
                pod.gone = true;
                due = true;
            }
            if let Some(drain) = &mut pod.drain {
                let own: Vec<_> = pod.addresses.iter().copied().collect();
                match captured_sockets(&pod.netns, &own) {
                    Ok(sockets) => {
                        let quiet = drain.observe(now.into_std(), sockets);
                        due |= quiet != pod.actual.quiet;
                        pod.actual.quiet = quiet;
                    }
                    Err(error) => {
                        tracing::warn!(workload = %pod.entry.uid, %error, "cannot see the pod's connections");
                    }
                }
            }
            look_at_older(pod, now);
            if due {
                self.advance(slot).await;
            }
        }
        self.release_reserved();
        self.retire_other_versions();
    }

    fn give_up_waiting(&mut self, now: Instant) {
        for pod in self.pods.values_mut() {
            if pod
                .waiting
                .as_ref()
                .is_some_and(|waiting| waiting.deadline <= now)
                && let Some(waiting) = pod.waiting.take()
            {
                let why = pod
                    .error
                    .as_deref()
                    .unwrap_or("no proxy has taken the pod yet");
                tracing::warn!(workload = %pod.entry.uid, reason = why, "cni add refused");
                self.counters.cni("add", "refused");
                waiting.refuse("the pod cannot join the mesh yet", why);
            }
        }
        let (late, early) = std::mem::take(&mut self.unborn)
            .into_iter()
            .partition::<Vec<_>, _>(|(_, deadline)| *deadline <= now);
        self.unborn = early;
        for (call, _) in late {
            let details = format!("{}/{}", call.request.namespace, call.request.name);
            self.refuse(call, cni::try_again("the pod is not known yet", &details));
        }
    }

    /// Programs of another version keep their pods captured until this one has them all.
    fn retire_other_versions(&mut self) {
        let all_here = self.pods.values().all(|pod| match pod.membership() {
            Membership::In => pod.actual.enrolled,
            Membership::Out | Membership::Gone => pod.actual.is_plain(),
            Membership::Unknown => false,
        });
        if self.retired || !self.seen.is_complete() || !all_here {
            return;
        }
        self.retired = true;
        match self.capture.retire_other_versions() {
            Ok(removed) if removed.is_empty() => {}
            Ok(removed) => tracing::info!(?removed, "pins of other versions removed"),
            Err(error) => tracing::warn!(error = %causes(&error), "pins of other versions stay"),
        }
    }

    /// A slot without a journal entry is free again when its namespace is gone.
    fn release_reserved(&mut self) {
        if self.reserved.is_empty() {
            return;
        }
        let Ok(live) = self.capture.steered() else {
            return;
        };
        let live: Vec<u32> = live.into_iter().map(|slot| slot.number()).collect();
        self.reserved.retain(|slot| live.contains(slot));
    }
}

fn look_at_older(pod: &mut Pod, now: Instant) {
    let now = now.into_std();
    let Some(older) = pod.older.as_mut().filter(|older| older.is_due(now)) else {
        return;
    };
    let own: Vec<_> = pod.addresses.iter().copied().collect();
    if let Err(error) = older.look(&pod.netns, &own, now) {
        tracing::warn!(workload = %pod.entry.uid, %error, "cannot see the pod's older connections");
    }
}

/// Often enough for deadlines of seconds; a pass over all pods is a few hundred stat(2).
pub(super) const EVERY: Duration = Duration::from_millis(500);
