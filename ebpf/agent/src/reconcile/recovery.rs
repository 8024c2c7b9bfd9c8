//! Whether every pod that a former agent had captured has its listeners again.
//! In: the records. Out: the gate, opened once. Until then what pods dial is refused should their proxy die,
//! because nobody but the proxy holds the listeners: an agent in this state must not count as ready, or a
//! rollout would go on to the next node, or to the proxy of this one.
//! Without such pods, as at a first installation, the gate opens at once, with or without a proxy.
//! Must not happen here: closing it again. A proxy that goes later leaves its listeners with the agent.

use super::Reconciler;
use crate::enroll::plan::Membership;
use crate::enroll::pod::Pod;

impl Reconciler {
    /// Opens the gate if nothing is missing.
    pub(super) fn check_recovery(&mut self) {
        if self.recovered.is_none() || self.pods.values().any(is_bereft) {
            return;
        }
        if let Some(gate) = self.recovered.take() {
            gate.open();
        }
    }

    /// Says how many pods the gate waits for.
    pub(super) fn announce_recovery(&self) {
        let bereft = self.pods.values().filter(|pod| is_bereft(pod)).count();
        if bereft > 0 {
            tracing::info!(
                pods = bereft,
                "captured pods wait for their listeners from the proxy"
            );
        }
    }
}

/// Whether the pod is captured, is to stay so, and its listeners are not in the agent's hands. One that is
/// leaving lives on with those the proxy has, and goes without.
fn is_bereft(pod: &Pod) -> bool {
    let stays = !matches!(pod.membership(), Membership::Out | Membership::Gone);
    let captured = pod.actual.enrolled || pod.actual.steered;
    let held = pod.actual.slots && pod.listeners.is_some();
    stays && captured && !held
}
