//! Showing the state.

use std::sync::Arc;

use super::Reconciler;
use crate::enroll::older::Older;
use crate::enroll::plan::{Actual, Membership, Offer};
use crate::enroll::pod::Pod;
use crate::intent::Intent;
use crate::view::{PodView, View};

impl Reconciler {
    pub(super) fn publish(&self) {
        let view = View {
            source_complete: self.seen.is_complete(),
            proxies: self.sessions.len(),
            reserved_slots: self.reserved.len(),
            pods: self.pods.values().map(pod_view).collect(),
        };
        self.view.send_replace(Arc::new(view));
    }
}

fn pod_view(pod: &Pod) -> PodView {
    PodView {
        uid: pod.entry.uid.clone(),
        namespace: pod.entry.namespace.clone(),
        name: pod.entry.name.clone(),
        slot: pod.entry.slot,
        netns: pod.entry.netns.display().to_string(),
        cookie: pod.entry.cookie.to_string(),
        ips: pod.addresses.iter().map(ToString::to_string).collect(),
        state: state(pod.membership(), &pod.actual),
        reason: match pod.intent {
            Some(Intent::StayOut(reason)) => Some(reason.text()),
            _ => None,
        },
        workers: pod.actual.listeners,
        served: matches!(pod.actual.offer, Offer::Accepted(_)),
        preexisting_connections: pod.older.as_ref().map(Older::count),
        error: pod.error.clone(),
    }
}

fn state(membership: Membership, actual: &Actual) -> &'static str {
    match membership {
        Membership::In | Membership::Unknown if actual.enrolled => "enrolled",
        Membership::In => "pending",
        _ if actual.is_plain() => "plain",
        Membership::Unknown => "pending",
        Membership::Out | Membership::Gone => "leaving",
    }
}
