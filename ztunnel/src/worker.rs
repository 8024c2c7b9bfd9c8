//! One data-plane worker: a thread with a current-thread runtime.
//! In: commands of the control runtime, changes of the snapshot, the drain. Out: the sockets of pods
//! served. Owns: accept loops, tunnel pool, traffic series, the registry of live connections.
//! Nothing here crosses threads but the snapshot, counters and commands.

mod command;
mod pods;

pub use command::{ConnectionView, Gone, WorkerHandle};

use crate::capture::pod::Pod;
use crate::config::Config;
use crate::gather;
use crate::metrics::Metrics;
use crate::outbound::tunnels::Tunnels;
use crate::outcome::Failure;
use crate::registry::{Cut, Registry};
use crate::state::State;
use ambit_identity::{Lease, Priority, SecretStore, Svid};
use ambit_model::ids::{Generation, SpiffeId};
use ambit_routing::connection::inbound::{self, ArrivedConn, InboundDecision};
use ambit_runtime::drain::Watch;
use ambit_telemetry::access_log::AccessLog;
use ambit_telemetry::traffic::TrafficSeries;
use command::Command;
use foldhash::HashMap;
use pods::PodServers;
use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::LocalSet;

/// What all workers share.
#[derive(Debug)]
pub struct Shared {
    /// Settings.
    pub config: Config,
    /// The mesh.
    pub state: Arc<State>,
    /// Certificates.
    pub secrets: SecretStore,
    /// Counters.
    pub metrics: Metrics,
    /// One line per connection.
    pub access_log: AccessLog,
}

/// What the connections of one worker use. Never leaves its thread.
#[derive(Debug)]
pub struct Worker {
    /// Number, from 0.
    pub index: usize,
    /// Shared with the other workers.
    pub shared: Arc<Shared>,
    /// Counters by label set.
    pub traffic: TrafficSeries,
    /// Live connections.
    pub registry: Rc<Registry>,
    /// HBONE tunnels to peers.
    pub tunnels: Tunnels,
    /// Certificates used so far; the control runtime keeps those of all pods fresh.
    leases: RefCell<HashMap<SpiffeId, Rc<Lease>>>,
}

/// Starts worker `index`. It ends after the drain; join the thread to wait for it.
///
/// # Errors
/// The thread or its runtime cannot be made.
pub fn start(
    index: usize,
    shared: Arc<Shared>,
    drain: Watch,
) -> io::Result<(WorkerHandle, JoinHandle<()>)> {
    let (handle, commands) = command::channel();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let thread = std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
        let local = LocalSet::new();
        local.block_on(&runtime, async move {
            let worker = Worker::new(index, shared);
            run(Rc::new(worker), commands, drain).await;
        });
    })?;
    Ok((handle, thread))
}

impl Worker {
    /// A worker without connections; must be made on its own thread, inside its `LocalSet`.
    pub fn new(index: usize, shared: Arc<Shared>) -> Self {
        let traffic = shared.metrics.traffic.worker();
        let tunnels = Tunnels::new(&shared.config);
        Self { index, shared, traffic, registry: Rc::default(), tunnels, leases: RefCell::default() }
    }

    /// The certificate of a pod, waiting for it as long as a connection may.
    ///
    /// # Errors
    /// [`Failure::Certificate`].
    pub async fn svid(&self, id: &SpiffeId) -> Result<Arc<Svid>, Failure> {
        let known = self.leases.borrow().get(id).cloned();
        let lease = known.unwrap_or_else(|| {
            let lease = Rc::new(self.shared.secrets.lease(id, Priority::OnDemand));
            self.leases.borrow_mut().insert(id.clone(), lease.clone());
            lease
        });
        lease.svid(gather::PATIENCE).await.map_err(Failure::Certificate)
    }

    /// Forgets certificates; those still needed are found again by the next connection.
    fn release_certificates(&self) {
        self.leases.borrow_mut().clear();
    }

    /// Decides connections into pods again by the current snapshot and cuts those no longer allowed.
    fn decide_again(&self, generation: Generation) {
        let state = &self.shared.state;
        self.registry.decide_again(generation, |pod, arrived| still_allowed(state, pod, arrived));
    }

    fn report(&self) {
        self.registry.each(|flow, _, _| flow.report());
    }
}

/// A pod that is unknown at the moment keeps its connections: the agent says when it is gone.
fn still_allowed(state: &State, pod: &Pod, arrived: &ArrivedConn) -> bool {
    let Ok(own) = gather::find(state, pod) else { return true };
    let arrived = ArrivedConn { destination: own.workload, ..arrived.clone() };
    match inbound::decide(&own.snapshot, &arrived).decision {
        InboundDecision::Connect(_) => true,
        InboundDecision::Refuse(refusal) => !matches!(refusal, inbound::Refusal::Policy(_)),
    }
}

async fn run(worker: Rc<Worker>, mut commands: mpsc::Receiver<Command>, mut drain: Watch) {
    let mut pods = PodServers::new(worker.clone());
    let mut changes = worker.shared.state.changes();
    let mut tick = tokio::time::interval(REPORT);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(command) => pods.obey(command),
                None => break,
            },
            Ok(()) = changes.changed() => {
                let generation = *changes.borrow_and_update();
                worker.decide_again(generation);
            }
            _ = tick.tick() => {
                worker.report();
                pods.reap();
            }
            _ = drain.signalled() => break,
        }
    }
    pods.stop_all();
    tokio::select! {
        () = pods.finished() => {}
        () = answer_while_draining(&worker, &mut commands) => {}
        () = drain.expired() => {
            worker.registry.cut_where(Cut::Drain, |_| true);
            // Cut connections still write their line; that takes no waiting on peers.
            let _ = tokio::time::timeout(LAST_WORDS, pods.finished()).await;
        }
    }
    worker.report();
}

/// Admin still asks for connections during a drain; the channel is never closed before its end.
async fn answer_while_draining(worker: &Worker, commands: &mut mpsc::Receiver<Command>) {
    while let Some(command) = commands.recv().await {
        command.answer_draining(worker);
    }
    std::future::pending().await
}

/// How often bytes of living connections reach the metrics.
const REPORT: Duration = Duration::from_secs(5);
const LAST_WORDS: Duration = Duration::from_secs(1);
