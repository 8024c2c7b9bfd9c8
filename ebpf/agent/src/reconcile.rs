//! The one task that changes pods.
//! In: [`Event`]s and the passing of time. Out: the kernel, the proxies, the journal and the statuses brought
//! to what the source wants.
//! Owns: every pod's record, the connected proxies, the journal, the state file.
//! Must not happen here: waiting for a proxy or the source; whoever must be waited for answers by an event.

mod cni;
mod facts;
mod proxies;
mod publish;
mod recovery;
mod start;
mod tick;

pub use start::{StartError, Started, Startup};

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use ambit_cni::known::Known;
use ambit_ebpf_common::MAX_SLOTS;
use ambit_ebpf_loader::{Capture, Slot};
use ambit_net::netlink::{Change, Changes};
use ambit_runtime::readiness::Gate;
use ambit_runtime::tasks;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::counters::Counters;
use crate::enroll::execute::{Executor, StepError};
use crate::enroll::plan::{Desired, Membership, Offer, Quiet, Step, plan, roll_back};
use crate::enroll::pod::{Pod, Waiting};
use crate::enroll::routing::{has_rules, is_pod_address};
use crate::events::{CniCall, Event};
use crate::exempt::Exemption;
use crate::facts::Seen;
use crate::journal::Journal;
use crate::proxy::Sessions;
use crate::view::View;
use ambit_runtime::causes::causes;
use proxies::Arrival;

/// The state of the reconcile task.
#[derive(Debug)]
pub struct Reconciler {
    capture: Arc<Capture>,
    executor: Executor,
    exemption: Exemption,
    journal: Journal,
    known_file: PathBuf,
    known: Option<Known>,
    node_cookie: u64,
    excluded: Vec<String>,
    seen: Seen,
    pods: BTreeMap<u32, Pod>,
    /// Slots of pods whose journal entry is lost: they stay as they are until their namespace goes.
    reserved: BTreeSet<u32>,
    /// ADDs of pods the source has not told of yet.
    unborn: Vec<(CniCall, Instant)>,
    /// Pins of other versions have been removed.
    retired: bool,
    sessions: Sessions,
    /// Proxies whose cgroups are not known yet.
    arrivals: Vec<Arrival>,
    counters: Counters,
    sender: mpsc::Sender<Event>,
    events: mpsc::Receiver<Event>,
    view: watch::Sender<Arc<View>>,
    synced: Gate,
    recovered: Option<Gate>,
}

/// Whether the record is still needed.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Keep,
    Forget,
}

impl Reconciler {
    /// Runs until dropped.
    pub async fn run(mut self) {
        let mut clock = interval(tick::EVERY);
        clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for slot in self.slots() {
            self.take_over(slot).await;
        }
        self.announce_recovery();
        self.publish();
        self.check_recovery();
        loop {
            tokio::select! {
                event = self.events.recv() => match event {
                    Some(event) => self.handle(event).await,
                    None => return,
                },
                _ = clock.tick() => self.tick().await,
            }
            // In this order: whoever finds the agent ready finds the listeners on its page.
            self.publish();
            self.check_recovery();
        }
    }

    async fn handle(&mut self, event: Event) {
        match event {
            Event::Facts(facts) => self.learn(facts).await,
            Event::Outside(outside) => self.set_outside(outside).await,
            Event::Cni(call) => self.cni(call).await,
            Event::ProxyConnected {
                session,
                workers,
                commands,
            } => self.proxy_connected(session, workers, commands).await,
            Event::ProxyAnswered {
                session,
                uid,
                ticket,
                answer,
            } => self.proxy_answered(session, &uid, ticket, answer).await,
            Event::ProxyGone {
                session,
                reason,
                failure,
            } => {
                if let Some(failure) = failure {
                    self.counters.session_failed(failure);
                }
                self.proxy_gone(session, &reason).await;
            }
            Event::Network {
                slot,
                cookie,
                change,
            } => {
                if self
                    .pods
                    .get(&slot)
                    .is_some_and(|pod| pod.entry.cookie == cookie && concerns(pod, change))
                {
                    self.follow_addresses(slot).await;
                }
            }
        }
    }

    fn slots(&self) -> Vec<u32> {
        self.pods.keys().copied().collect()
    }

    /// Takes a pod as far as it can go now.
    async fn advance(&mut self, slot: u32) {
        let Some(mut pod) = self.pods.remove(&slot) else {
            return;
        };
        let wait = pod.retry.is_some_and(|retry| retry.at > Instant::now()) && !pod.gone;
        if wait || self.drive(&mut pod).await == Fate::Keep {
            self.answer_plugin(&mut pod);
            self.pods.insert(slot, pod);
            return;
        }
        tracing::info!(workload = %pod.entry.uid, slot, "pod forgotten");
        if let Some(waiting) = pod.waiting.take() {
            waiting.refuse("the pod's sandbox is gone", &pod.entry.uid);
        }
        if let Err(error) = self.journal.remove(slot) {
            tracing::error!(
                slot,
                error = &error as &dyn std::error::Error,
                "journal entry not removed"
            );
        }
    }

    async fn drive(&mut self, pod: &mut Pod) -> Fate {
        let desired = Desired {
            membership: pod.membership(),
            proxy: self.sessions.newest(),
        };
        for step in plan(desired, &pod.actual) {
            if step == Step::Forget {
                return Fate::Forget;
            }
            if step == Step::Route {
                self.follow(pod);
            }
            if let Err(error) = self.executor.step(pod, step, &mut self.sessions).await {
                self.step_failed(pod, step, &error).await;
                return Fate::Keep;
            }
            tracing::debug!(workload = %pod.entry.uid, slot = pod.entry.slot, ?step, "step done");
        }
        let waits = matches!(pod.actual.offer, Offer::Asked(_) | Offer::Sent(_));
        if !waits && plan(desired, &pod.actual).is_empty() {
            pod.retry = None;
            pod.error = None;
        }
        if !pod.actual.routed {
            pod.follower = None;
        }
        if pod.actual.is_plain() {
            pod.drain = None;
        }
        Fate::Keep
    }

    async fn step_failed(&mut self, pod: &mut Pod, step: Step, error: &StepError) {
        let text = causes(error);
        tracing::warn!(workload = %pod.entry.uid, slot = pod.entry.slot, ?step, error = %text, "step failed");
        self.counters.step_failed();
        pod.failed(text);
        self.undo_half(pod).await;
    }

    /// A pod that is not captured yet keeps plain networking until the next try.
    async fn undo_half(&mut self, pod: &mut Pod) {
        if pod.membership() != Membership::In || pod.actual.enrolled {
            return;
        }
        for step in roll_back(&pod.actual) {
            if let Err(error) = self.executor.step(pod, step, &mut self.sessions).await {
                tracing::warn!(
                    workload = %pod.entry.uid, ?step, error = &error as &dyn std::error::Error,
                    "cannot undo a step"
                );
            }
        }
    }

    fn answer_plugin(&self, pod: &mut Pod) {
        let done = pod.actual.enrolled || pod.membership() == Membership::Out;
        if done && let Some(waiting) = pod.waiting.take() {
            self.counters.cni("add", "done");
            // The plugin may have given up.
            let _ = waiting.reply.send(Ok(()));
        }
    }

    /// Follows the pod's addresses from now on, so that none that comes during set-up is missed.
    fn follow(&self, pod: &mut Pod) {
        if pod
            .follower
            .as_ref()
            .is_some_and(|task| !task.is_finished())
        {
            return;
        }
        match Changes::open(&pod.netns) {
            Ok(mut changes) => {
                let (slot, cookie, events) =
                    (pod.entry.slot, pod.entry.cookie, self.sender.clone());
                pod.follower = Some(tasks::spawn("pod network", async move {
                    loop {
                        let change = changes.next().await;
                        let told = events
                            .send(Event::Network {
                                slot,
                                cookie,
                                change,
                            })
                            .await;
                        if change.is_none() || told.is_err() {
                            return;
                        }
                    }
                }));
            }
            Err(error) => {
                tracing::warn!(workload = %pod.entry.uid, %error, "cannot follow addresses and interfaces")
            }
        }
    }

    async fn follow_addresses(&mut self, slot: u32) {
        let Some(mut pod) = self.pods.remove(&slot) else {
            return;
        };
        if pod.actual.routed {
            self.follow(&mut pod);
            if let Err(error) = self.executor.route(&mut pod).await {
                self.step_failed(&mut pod, Step::Route, &error).await;
                // The plan must come back to it.
                pod.actual.routed = false;
            }
        }
        self.pods.insert(slot, pod);
    }

    /// A pod of a former agent. If it is captured, routes and addresses are brought up to date. If not, but
    /// rules of ours are there, its enrolment was cut off half-way or belongs to another version of the
    /// maps: a proxy may hold its listeners, and connections may live.
    async fn take_over(&mut self, slot: u32) {
        let Some(pod) = self.pods.get_mut(&slot) else {
            return;
        };
        if pod.actual.routed {
            self.follow_addresses(slot).await;
        } else {
            match has_rules(&pod.netns).await {
                Ok(false) => {}
                Ok(true) => {
                    pod.actual.routed = true;
                    pod.actual.unheld = true;
                    pod.actual.quiet = Quiet::Busy;
                }
                Err(error) => {
                    tracing::warn!(workload = %pod.entry.uid, error = %causes(&error), "cannot look at an old pod");
                }
            }
        }
        self.advance(slot).await;
    }

    fn free_slot(&self) -> Option<Slot> {
        (0..MAX_SLOTS)
            .find(|number| !self.pods.contains_key(number) && !self.reserved.contains(number))
            .and_then(Slot::new)
    }
}

/// Whether addresses, or interfaces the pod names, may be other than before.
fn concerns(pod: &Pod, change: Option<Change>) -> bool {
    match change {
        None => true,
        Some(Change::AddressAdded(address) | Change::AddressRemoved(address)) => {
            is_pod_address(address.ip)
        }
        Some(Change::Link(_)) => !pod.virtual_interfaces.is_empty(),
    }
}

impl Waiting {
    fn refuse(self, msg: &str, details: &str) {
        let _ = self.reply.send(Err(cni::try_again(msg, details)));
    }
}
