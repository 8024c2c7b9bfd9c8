//! Proxies that come, answer and go.

use ambit_api::zds::AmbitSockets;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::Reconciler;
use crate::enroll::plan::Offer;
use crate::enroll::pod::Pod;
use crate::listeners::{AdoptError, Listeners};
use crate::proxy::{Answer, Command, SessionId};
use ambit_runtime::causes::causes;

/// A proxy that has connected and is not exempt yet.
#[derive(Debug)]
pub(super) struct Arrival {
    session: SessionId,
    workers: Option<u32>,
    commands: mpsc::Sender<Command>,
    deadline: Instant,
    /// It was said that it waits.
    is_late: bool,
}

impl Reconciler {
    pub(super) async fn proxy_connected(
        &mut self,
        session: SessionId,
        workers: Option<u32>,
        commands: mpsc::Sender<Command>,
    ) {
        if workers.is_none() {
            tracing::warn!(
                session = session.0,
                "the proxy takes no listeners: it gets no pods"
            );
        }
        self.arrivals.push(Arrival {
            session,
            workers,
            commands,
            deadline: Instant::now() + PATIENCE,
            is_late: false,
        });
        self.admit_arrivals().await;
    }

    /// Takes in the proxies that wait. A restarted container has a new cgroup, and of a new pod the source
    /// may not have told yet. Without the exemption the proxy's own connections would loop, so it gets no
    /// descriptor before.
    pub(super) async fn admit_arrivals(&mut self) {
        if self.arrivals.is_empty() {
            return;
        }
        let exempted = self.exemption.refresh(&self.capture);
        for mut arrival in std::mem::take(&mut self.arrivals) {
            let session = arrival.session.0;
            let Err(error) = &exempted else {
                self.admit(arrival).await;
                continue;
            };
            if arrival.deadline <= Instant::now() {
                // Its connection ends; it tries again.
                tracing::error!(session, error = %causes(error), "the proxy cannot be exempted");
                continue;
            }
            if !std::mem::replace(&mut arrival.is_late, true) {
                tracing::info!(session, reason = %causes(error), "the proxy waits to be exempted");
            }
            self.arrivals.push(arrival);
        }
    }

    async fn admit(&mut self, arrival: Arrival) {
        let Arrival {
            session,
            workers,
            commands,
            ..
        } = arrival;
        self.sessions.insert(session, workers, commands);
        for slot in self.slots() {
            self.advance(slot).await;
        }
        if let Err(error) = self.sessions.send(session, Command::SnapshotSent) {
            tracing::warn!(session = session.0, error = %causes(&error), "snapshot not completed");
        }
    }

    pub(super) async fn proxy_gone(&mut self, session: SessionId, reason: &str) {
        tracing::warn!(session = session.0, reason, "proxy gone");
        self.sessions.remove(session);
        self.arrivals.retain(|arrival| arrival.session != session);
        for slot in self.slots() {
            if let Some(pod) = self.pods.get_mut(&slot)
                && offered_to(pod) == Some(session)
            {
                pod.actual.offer = Offer::None;
                pod.returned = None;
            }
            self.advance(slot).await;
        }
    }

    pub(super) async fn proxy_answered(
        &mut self,
        session: SessionId,
        uid: &str,
        ticket: u64,
        answer: Answer,
    ) {
        let found = self.pods.values_mut().find(|pod| {
            pod.entry.uid == uid && pod.ticket == ticket && offered_to(pod) == Some(session)
        });
        let Some(pod) = found else { return };
        let slot = pod.entry.slot;
        match answer {
            Answer::Accepted => pod.actual.offer = Offer::Accepted(session),
            Answer::HoldsNone => holds_none(pod),
            Answer::Held { sockets, fds } => match take(pod, &sockets, fds) {
                Ok(None) => pod.actual.offer = Offer::Accepted(session),
                Ok(Some(first)) => {
                    let subject = pod.next_question();
                    if self
                        .sessions
                        .send(
                            session,
                            Command::Ask {
                                pod: subject,
                                first,
                            },
                        )
                        .is_err()
                    {
                        pod.actual.offer = Offer::None;
                    }
                }
                Err(error) => {
                    tracing::error!(workload = %uid, error = %causes(&error), "returned listeners refused");
                    holds_none(pod);
                }
            },
            Answer::Refused(reason) => self.refused(slot, &reason).await,
        }
        self.advance(slot).await;
    }

    async fn refused(&mut self, slot: u32, reason: &str) {
        let Some(mut pod) = self.pods.remove(&slot) else {
            return;
        };
        tracing::warn!(workload = %pod.entry.uid, reason, "proxy refused a pod");
        self.counters.step_failed();
        pod.actual.offer = Offer::None;
        pod.failed(format!("the proxy refused: {reason}"));
        self.undo_half(&mut pod).await;
        self.pods.insert(slot, pod);
    }
}

/// Adopts one part of what a proxy holds; gives the worker to go on from, if there is more.
fn take(
    pod: &mut Pod,
    sockets: &AmbitSockets,
    fds: Vec<OwnedFd>,
) -> Result<Option<u32>, AdoptError> {
    let part = Listeners::adopt(&sockets.roles, sockets.workers, fds, pod.entry.cookie)?;
    let all = match pod.returned.take() {
        None => part,
        Some(mut earlier) => {
            earlier.append(part);
            earlier
        }
    };
    let workers = all.workers();
    if sockets.more && workers < MOST_WORKERS {
        pod.returned = Some(all);
        return Ok(Some(workers));
    }
    pod.actual.listeners = Some(workers);
    pod.actual.unheld = false;
    // The slots should hold them; putting them in again costs nothing and is certain.
    pod.actual.slots = false;
    pod.listeners = Some(Arc::new(all));
    Ok(None)
}

fn holds_none(pod: &mut Pod) {
    pod.returned = None;
    pod.actual.unheld = false;
    pod.actual.slots = false;
    pod.actual.offer = Offer::None;
}

fn offered_to(pod: &Pod) -> Option<SessionId> {
    match pod.actual.offer {
        Offer::None => None,
        Offer::Asked(session) | Offer::Sent(session) | Offer::Accepted(session) => Some(session),
    }
}

/// A pod's cgroup is there before its processes are, and the source tells of it soon after.
const PATIENCE: Duration = Duration::from_secs(30);

/// An answer with more workers than any proxy has must end some day.
const MOST_WORKERS: u32 = 1024;
