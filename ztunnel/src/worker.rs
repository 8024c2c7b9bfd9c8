//! What the connections of one worker use, and what all workers share.
//! In: one decision per connection. Out: certificates, tunnels, the registry, the books.
//! Owns: everything of one worker but its accept loops. Never leaves its thread.

use crate::config::Config;
use crate::flow::{Books, Flow};
use crate::gather;
use crate::metrics::Metrics;
use crate::names::Names;
use crate::outcome::Failure;
use crate::pod::Pod;
use crate::registry::{Place, Registry};
use crate::state::State;
use crate::tunnels::Tunnels;
use ambit_identity::{Lease, Priority, SecretStore, Svid};
use ambit_model::ids::{Generation, SpiffeId};
use ambit_routing::connection::inbound::{self, ArrivedConn, InboundDecision};
use ambit_telemetry::access_log::AccessLog;
use foldhash::HashMap;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

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
    /// Where connections are written down.
    pub books: Books,
    /// Live connections.
    pub registry: Rc<Registry>,
    /// HBONE tunnels to peers.
    pub tunnels: Tunnels,
    /// Addresses of endpoints that have only a name.
    pub names: Names,
    /// Certificates used so far; the control runtime keeps those of all pods fresh.
    leases: RefCell<HashMap<SpiffeId, Rc<Lease>>>,
}

impl Worker {
    /// A worker without connections; must be made on its own thread, inside its `LocalSet`.
    pub fn new(index: usize, shared: Arc<Shared>) -> Self {
        let books = Books {
            traffic: shared.metrics.traffic.worker(),
            refused: shared.metrics.refused.clone(),
            access_log: shared.access_log.clone(),
        };
        let tunnels = Tunnels::new(&shared.config);
        Self {
            index,
            shared,
            books,
            registry: Rc::default(),
            tunnels,
            names: Names::default(),
            leases: RefCell::default(),
        }
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
        lease
            .svid(gather::PATIENCE)
            .await
            .map_err(Failure::Certificate)
    }

    /// Forgets certificates; those still needed are found again by the next connection.
    pub fn release_certificates(&self) {
        self.leases.borrow_mut().clear();
    }

    /// Registers a connection that is established; `arrived` for one into a pod. One decided by a
    /// snapshot that has been replaced since is decided again.
    pub fn enter(
        &self,
        flow: Rc<Flow>,
        pod: Arc<Pod>,
        arrived: Option<ArrivedConn>,
        decided: Generation,
    ) -> Place {
        let again = arrived.is_some();
        let place = self.registry.enter(flow, pod, arrived, decided);
        let now = self.shared.state.load().generation();
        if again && now > decided {
            self.decide_again(now);
        }
        place
    }

    /// Decides connections into pods again by the current snapshot and cuts those no longer allowed.
    pub fn decide_again(&self, generation: Generation) {
        let state = &self.shared.state;
        self.registry.decide_again(generation, |pod, arrived| {
            still_allowed(state, pod, arrived)
        });
    }

    /// Brings bytes of living connections into the metrics.
    pub fn report(&self) {
        self.registry.each(|flow, _, _| flow.report());
    }
}

/// A pod that is unknown at the moment keeps its connections: the agent says when it is gone.
fn still_allowed(state: &State, pod: &Pod, arrived: &ArrivedConn) -> bool {
    let Ok(own) = gather::find(state, pod) else {
        return true;
    };
    let arrived = ArrivedConn {
        destination: own.workload,
        ..arrived.clone()
    };
    match inbound::decide(&own.snapshot, &arrived).decision {
        InboundDecision::Connect(_) => true,
        InboundDecision::Refuse(refusal) => !matches!(refusal, inbound::Refusal::Policy(_)),
    }
}
