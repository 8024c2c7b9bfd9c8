//! What to do next for one pod.
//! In: [`Desired`] and [`Actual`]. Out: steps in order, up to the first that must wait for somebody.
//! Pure. After every event the plan is made anew, so that a change of mind half-way needs no undo list.
//!
//! Enroll: route → listeners → offer to the proxy → (its answer) slots → steer → capture → announce.
//! Leave: withdraw → release → (no new streams) unsteer → (no connections) retract, slots, listeners, routes.

use crate::proxy::{Proxy, SessionId};
use crate::status::Announced;

/// Where the pod should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Membership {
    /// In the mesh.
    In,
    /// Outside, but running.
    Out,
    /// The pod is gone.
    Gone,
    /// The source has not answered yet: keep what is.
    Unknown,
}

/// Desired state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Desired {
    /// Of the pod.
    pub membership: Membership,
    /// The proxy to offer it to, if one is connected.
    pub proxy: Option<Proxy>,
}

/// How far the proxy knows the pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offer {
    /// Not told, or told on a connection that is gone.
    None,
    /// Asked for the listeners it may hold; no answer yet.
    Asked(SessionId),
    /// Given the listeners; no answer yet.
    Sent(SessionId),
    /// It accepts connections from them.
    Accepted(SessionId),
}

/// How calm a leaving pod is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Quiet {
    /// New captured connections still come, or nobody has looked yet.
    Busy,
    /// None came for a while (or the wait is over); some live.
    NoNewStreams,
    /// None lives.
    Idle,
}

/// Actual state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "each is one independent object of the kernel"
)]
pub struct Actual {
    /// Loopback, rules, routes and sysctls are in place.
    pub routed: bool,
    /// Listeners the agent holds, as workers per role.
    pub listeners: Option<u32>,
    /// Enrolled before the agent started: the proxy may hold the listeners.
    pub unheld: bool,
    /// What the proxy knows.
    pub offer: Offer,
    /// The sockmap slots hold the listeners.
    pub slots: bool,
    /// `steer` is attached.
    pub steered: bool,
    /// The namespace is in ENROLLED.
    pub enrolled: bool,
    /// The annotation.
    pub announced: Announced,
    /// Only looked at while leaving.
    pub quiet: Quiet,
}

impl Actual {
    /// A pod nothing has been done for.
    pub const PLAIN: Self = Self {
        routed: false,
        listeners: None,
        unheld: false,
        offer: Offer::None,
        slots: false,
        steered: false,
        enrolled: false,
        announced: Announced::Unknown,
        quiet: Quiet::Idle,
    };

    /// Whether anything of the mesh is left in or for the pod.
    pub fn is_plain(&self) -> bool {
        *self
            == Self {
                announced: self.announced,
                quiet: self.quiet,
                ..Self::PLAIN
            }
    }
}

/// One thing to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Loopback up, sysctls, rules, routes, the pod's addresses.
    Route,
    /// Ask the proxy for the listeners it holds; its answer is waited for.
    Ask(SessionId),
    /// Make listeners, or more or fewer of them.
    Listen {
        /// Per role.
        workers: u32,
    },
    /// Pass the listeners to the proxy; its answer is waited for.
    Offer(SessionId),
    /// Put the listeners into the sockmap.
    FillSlots,
    /// Attach `steer`.
    Steer,
    /// Insert into ENROLLED.
    Capture,
    /// Write or remove the annotation.
    Announce(Announced),
    /// Delete from ENROLLED.
    Release,
    /// Leave plaintext from outside to the application; look again later whether the pod is quiet.
    Watch,
    /// Detach `steer`.
    Unsteer,
    /// Tell every proxy that the pod left.
    Retract,
    /// Empty the sockmap slots.
    ClearSlots,
    /// Close the listeners.
    CloseListeners,
    /// Remove rules, routes and addresses.
    Unroute,
    /// Drop the record.
    Forget,
}

/// The steps from `actual` towards `desired`.
pub fn plan(desired: Desired, actual: &Actual) -> Vec<Step> {
    match desired.membership {
        Membership::In => join(desired.proxy, actual),
        Membership::Out => leave(actual),
        Membership::Gone => gone(actual),
        Membership::Unknown if actual.enrolled => join(desired.proxy, actual)
            .into_iter()
            .filter(|step| !matches!(step, Step::Announce(_)))
            .collect(),
        Membership::Unknown => Vec::new(),
    }
}

/// The steps that remove what a failed enrolment left: the pod keeps plain networking meanwhile.
pub fn roll_back(actual: &Actual) -> Vec<Step> {
    let mut steps = Vec::new();
    if actual.announced != Announced::Pending {
        steps.push(Step::Announce(Announced::Pending));
    }
    let quiet = Actual {
        quiet: Quiet::Idle,
        announced: Announced::Nothing,
        ..*actual
    };
    steps.extend(leave(&quiet));
    steps
}

fn join(proxy: Option<Proxy>, actual: &Actual) -> Vec<Step> {
    let mut steps = Vec::new();
    if !actual.routed {
        steps.push(Step::Route);
    }
    let Some(proxy) = proxy else {
        if !actual.enrolled && actual.announced != Announced::Pending {
            steps.push(Step::Announce(Announced::Pending));
        }
        return steps;
    };
    let here = |session| session == proxy.session;
    match actual.offer {
        Offer::Asked(session) | Offer::Sent(session) if here(session) => {}
        Offer::Accepted(session) if here(session) && actual.listeners == Some(proxy.workers) => {
            finish(actual, &mut steps);
        }
        _ if actual.unheld => steps.push(Step::Ask(proxy.session)),
        _ => {
            if actual.listeners != Some(proxy.workers) {
                steps.push(Step::Listen {
                    workers: proxy.workers,
                });
            }
            steps.push(Step::Offer(proxy.session));
        }
    }
    steps
}

fn finish(actual: &Actual, steps: &mut Vec<Step>) {
    if !actual.slots {
        steps.push(Step::FillSlots);
    }
    if !actual.steered {
        steps.push(Step::Steer);
    }
    if !actual.enrolled {
        steps.push(Step::Capture);
    }
    if actual.announced != Announced::Enabled {
        steps.push(Step::Announce(Announced::Enabled));
    }
}

fn leave(actual: &Actual) -> Vec<Step> {
    let mut steps = Vec::new();
    if actual.announced != Announced::Nothing {
        steps.push(Step::Announce(Announced::Nothing));
    }
    if actual.enrolled {
        steps.push(Step::Release);
    }
    if actual.steered {
        if actual.quiet < Quiet::NoNewStreams {
            steps.push(Step::Watch);
            return steps;
        }
        steps.push(Step::Unsteer);
    }
    let rest = Actual {
        enrolled: false,
        steered: false,
        ..*actual
    };
    if rest.is_plain() {
        return steps;
    }
    if actual.quiet < Quiet::Idle {
        steps.push(Step::Watch);
        return steps;
    }
    tear_down(actual, &mut steps);
    if actual.routed {
        steps.push(Step::Unroute);
    }
    steps
}

fn gone(actual: &Actual) -> Vec<Step> {
    let mut steps = Vec::new();
    if actual.announced != Announced::Nothing {
        steps.push(Step::Announce(Announced::Nothing));
    }
    if actual.enrolled {
        steps.push(Step::Release);
    }
    if actual.steered {
        steps.push(Step::Unsteer);
    }
    tear_down(actual, &mut steps);
    if actual.routed {
        // The namespace may outlive the pod's sandbox in the runtime's hands.
        steps.push(Step::Unroute);
    }
    steps.push(Step::Forget);
    steps
}

fn tear_down(actual: &Actual, steps: &mut Vec<Step>) {
    if actual.offer != Offer::None || actual.unheld || actual.listeners.is_some() {
        steps.push(Step::Retract);
    }
    if actual.slots {
        steps.push(Step::ClearSlots);
    }
    if actual.listeners.is_some() || actual.unheld {
        steps.push(Step::CloseListeners);
    }
}

#[cfg(test)]
mod tests;
