//! Doing one step of a plan.
//! In: a pod's record and a step. Out: kernel and record changed together, or an error and neither claimed.
//! Owns: the capture handle, the owners of addresses, the announcer.
//! Must not happen here: a decision which step comes next.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use ambit_ebpf_loader::{Capture, EnrollError, MapAccessError, PodOptions, Role, SteerError};
use ambit_net::socket::ListenError;
use ambit_net::sysctl::SysctlRoot;
use std::os::fd::AsFd;
use tokio::time::Instant;

use super::addresses::Addresses;
use super::older::Older;
use super::plan::{Membership, Offer, Quiet, Step};
use super::pod::Pod;
use super::quiet::Drain;
use super::rerouting;
use super::routing::{self, RoutingError};
use crate::listeners::Listeners;
use crate::proxy::{Command, SendError, SessionId, Sessions};
use crate::status::{AnnounceError, Announcer, Named};

/// Why a step failed.
#[derive(Debug, thiserror::Error)]
pub enum StepError {
    /// Rules, routes, sysctls.
    #[error("cannot set up routing")]
    Routing(#[from] RoutingError),
    /// Listeners.
    #[error("cannot make listeners in the pod")]
    Listen(#[from] ListenError),
    /// Copies of listeners.
    #[error("cannot copy listeners")]
    Copy(#[source] std::io::Error),
    /// The pod's namespace.
    #[error("cannot enter the pod's network namespace")]
    Enter(#[source] std::io::Error),
    /// A map.
    #[error("cannot write capture maps")]
    Map(#[from] MapAccessError),
    /// The steer program.
    #[error("cannot change steering")]
    Steer(#[from] SteerError),
    /// ENROLLED.
    #[error("cannot capture the pod")]
    Enroll(#[from] EnrollError),
    /// The proxy's queue.
    #[error("cannot reach the proxy")]
    Proxy(#[from] SendError),
    /// The annotation.
    #[error("cannot write the pod's status")]
    Announce(#[from] AnnounceError),
    /// A step that needs listeners came without.
    #[error("the pod has no listeners")]
    NoListeners,
}

/// What steps are done with.
#[derive(Debug)]
pub struct Executor {
    capture: Arc<Capture>,
    addresses: Addresses,
    sysctls: SysctlRoot,
    announcer: Announcer,
}

impl Executor {
    /// Takes over the kernel's state as it is.
    pub fn new(
        capture: Arc<Capture>,
        addresses: Addresses,
        sysctls: SysctlRoot,
        announcer: Announcer,
    ) -> Self {
        Self {
            capture,
            addresses,
            sysctls,
            announcer,
        }
    }

    /// Does one step. [`Step::Forget`] is the caller's.
    ///
    /// # Errors
    /// [`StepError`]; the record then says what is true.
    pub async fn step(
        &mut self,
        pod: &mut Pod,
        step: Step,
        sessions: &mut Sessions,
    ) -> Result<(), StepError> {
        match step {
            Step::Route => self.route(pod).await?,
            Step::Ask(session) => ask(pod, session, sessions)?,
            Step::Listen { workers } => listen(pod, workers)?,
            Step::Offer(session) => offer(pod, session, sessions)?,
            Step::FillSlots => self.fill_slots(pod)?,
            Step::Steer => {
                self.capture.set_options(pod.slot, pod.options())?;
                self.capture.attach_steer(pod.slot, pod.netns.as_fd())?;
                pod.actual.steered = true;
            }
            Step::Capture => {
                self.capture.set_options(pod.slot, pod.options())?;
                if !pod.virtual_interfaces.is_empty() {
                    self.reroute(pod).await?;
                }
                list_older(pod);
                self.capture.enroll(pod.entry.cookie, pod.slot)?;
                pod.actual.enrolled = true;
                pod.actual.quiet = Quiet::Busy;
                pod.drain = None;
            }
            Step::Announce(what) => {
                let named = Named {
                    uid: &pod.entry.uid,
                    namespace: &pod.entry.namespace,
                    name: &pod.entry.name,
                };
                self.announcer.announce(named, what)?;
                pod.actual.announced = what;
            }
            Step::Release => {
                self.capture.unenroll(pod.entry.cookie)?;
                pod.actual.enrolled = false;
                pod.older = None;
            }
            Step::Watch => {
                if pod.actual.steered {
                    // Peers that come by HBONE have not heard yet. Whoever comes in plaintext is the
                    // application's own guest again: no policy of the mesh holds for the pod any more.
                    let options = PodOptions {
                        plain_inbound: true,
                        ..PodOptions::default()
                    };
                    self.capture.set_options(pod.slot, options)?;
                }
                pod.drain
                    .get_or_insert_with(|| Drain::start(Instant::now().into_std()));
            }
            Step::Unsteer => {
                self.capture.detach_steer(pod.slot)?;
                pod.actual.steered = false;
            }
            Step::Retract => {
                sessions.send_all(&Command::Delete(pod.entry.uid.as_str().into()));
                pod.actual.offer = Offer::None;
            }
            Step::ClearSlots => {
                for role in Role::ALL {
                    self.capture.clear_listener(pod.slot, role)?;
                }
                pod.actual.slots = false;
            }
            Step::CloseListeners => {
                pod.listeners = None;
                pod.actual.listeners = None;
                pod.actual.unheld = false;
            }
            Step::Unroute => self.unroute(pod).await?,
            Step::Forget => {}
        }
        Ok(())
    }

    /// Reads the pod's addresses again and follows them with maps and routes.
    ///
    /// # Errors
    /// [`StepError`].
    pub async fn route(&mut self, pod: &mut Pod) -> Result<(), StepError> {
        // Even a part of it must be undone.
        pod.actual.routed = true;
        let addresses = routing::route(&pod.netns, &self.sysctls, &pod.entry.ips).await?;
        self.set_addresses(pod, addresses)?;
        if pod.actual.enrolled && pod.membership() == Membership::In {
            self.reroute(pod).await?;
        }
        Ok(())
    }

    /// Takes back annotations of pods that are not among `mine`.
    ///
    /// # Errors
    /// [`StepError::Announce`].
    pub fn forget_others(&self, mine: impl Fn(&str, &str) -> bool) -> Result<(), StepError> {
        Ok(self.announcer.forget_others(mine)?)
    }

    /// Writes the options of a pod that is steered.
    ///
    /// # Errors
    /// [`StepError`].
    pub async fn change_options(&self, pod: &Pod) -> Result<(), StepError> {
        self.capture.set_options(pod.slot, pod.options())?;
        if pod.actual.enrolled {
            self.reroute(pod).await?;
        }
        Ok(())
    }

    /// Follows the interfaces that the pod names, as far as they are there.
    async fn reroute(&self, pod: &Pod) -> Result<(), StepError> {
        let present = rerouting::set(&pod.netns, &pod.virtual_interfaces).await?;
        let set = || self.capture.set_rerouted(pod.slot, &present);
        Ok(pod.netns.enter(set).map_err(StepError::Enter)??)
    }

    async fn unroute(&mut self, pod: &mut Pod) -> Result<(), StepError> {
        self.set_addresses(pod, BTreeSet::new())?;
        match routing::unroute(&pod.netns).await {
            Err(error) if pod.gone => {
                tracing::debug!(
                    error = &error as &dyn std::error::Error,
                    "routes went with the pod"
                );
            }
            undone => undone?,
        }
        // Its connections have ended, and no rule is left that drops what it does not mark.
        self.capture.clear_rerouted(pod.slot)?;
        pod.actual.routed = false;
        Ok(())
    }

    fn set_addresses(
        &mut self,
        pod: &mut Pod,
        addresses: BTreeSet<IpAddr>,
    ) -> Result<(), StepError> {
        self.addresses.set(&self.capture, pod.slot, &addresses)?;
        pod.addresses = addresses;
        Ok(())
    }

    fn fill_slots(&self, pod: &mut Pod) -> Result<(), StepError> {
        let listeners = pod.listeners.as_ref().ok_or(StepError::NoListeners)?;
        for role in Role::ALL {
            let member = listeners.slot_member(role).ok_or(StepError::NoListeners)?;
            self.capture.set_listener(pod.slot, role, member)?;
        }
        pod.actual.slots = true;
        Ok(())
    }
}

/// What cannot be counted is no reason to stay out of the mesh.
fn list_older(pod: &mut Pod) {
    let own: Vec<IpAddr> = pod.addresses.iter().copied().collect();
    match Older::list(&pod.netns, &own, Instant::now().into_std()) {
        Ok(older) => {
            if older.count() > 0 {
                tracing::info!(
                    workload = %pod.entry.uid, connections = older.count(),
                    "connections from before the enrolment stay outside the mesh"
                );
            }
            pod.older = Some(older);
        }
        Err(error) => {
            pod.older = None;
            tracing::warn!(workload = %pod.entry.uid, %error, "cannot count older connections");
        }
    }
}

fn ask(pod: &mut Pod, session: SessionId, sessions: &mut Sessions) -> Result<(), StepError> {
    pod.returned = None;
    let subject = pod.next_question();
    sessions.send(
        session,
        Command::Ask {
            pod: subject,
            first: 0,
        },
    )?;
    pod.actual.offer = Offer::Asked(session);
    Ok(())
}

fn listen(pod: &mut Pod, workers: u32) -> Result<(), StepError> {
    let listeners = match &pod.listeners {
        None => {
            pod.actual.slots = false;
            Listeners::open(&pod.netns, workers)?
        }
        Some(listeners) => {
            let mut copy = listeners.try_clone().map_err(StepError::Copy)?;
            copy.resize(&pod.netns, workers)?;
            copy
        }
    };
    pod.actual.listeners = Some(listeners.workers());
    pod.listeners = Some(Arc::new(listeners));
    Ok(())
}

fn offer(pod: &mut Pod, session: SessionId, sessions: &mut Sessions) -> Result<(), StepError> {
    let listeners = pod.listeners.clone().ok_or(StepError::NoListeners)?;
    let subject = pod.next_question();
    sessions.send(
        session,
        Command::Offer {
            pod: subject,
            listeners,
        },
    )?;
    pod.actual.offer = Offer::Sent(session);
    Ok(())
}
