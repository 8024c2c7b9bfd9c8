//! One data-plane worker: everything its connections and requests use, none of it shared with
//! other threads except by snapshot, certificate lease and counters.
//! In: settings and shared handles, from `app`. Out: [`Worker`], held by every task of the worker.
//! Owns: the tunnel pool, the HTTP connections, the balance, its random numbers.

use crate::listen;
use crate::metrics::Series;
use crate::state::State;
use crate::upstream::balance::Balance;
use crate::upstream::pool::{HttpPool, SWEEP};
use ambit_hbone::io::{Pool as TunnelPool, Settings as TunnelSettings};
use ambit_identity::{Lease, Svid};
use ambit_model::ids::{NetworkId, SpiffeId};
use ambit_runtime::{drain, tasks};
use ambit_telemetry::access_log::AccessLog;
use http::HeaderValue;
use rand::rngs::StdRng;
use std::cell::{RefCell, RefMut};
use std::io;
use std::rc::Rc;
use std::sync::Arc;

/// Who this waypoint is, the same for all workers.
#[derive(Debug)]
pub struct Me {
    /// Our identity.
    pub identity: SpiffeId,
    /// Our namespace: services visible only there are visible to us.
    pub namespace: String,
    /// Network we are in.
    pub network: NetworkId,
    /// Facts about us, sent with every stream we open (`baggage`).
    pub baggage: Option<HeaderValue>,
    /// Shape of access lines.
    pub log_format: ambit_telemetry::logging::Format,
}

/// What a worker is made of.
#[derive(Debug)]
pub struct Parts {
    /// Who we are.
    pub me: Arc<Me>,
    /// What we know.
    pub state: State,
    /// Our certificate.
    pub lease: Lease,
    /// Our series.
    pub series: Series,
    /// Access lines.
    pub access_log: AccessLog,
    /// Tells when to stop.
    pub drain: drain::Watch,
    /// Beginning of this worker's random numbers.
    pub seed: u64,
}

/// Runs one worker on this thread until the drain is over: its own runtime, everything on it local.
///
/// # Errors
/// The runtime or the listener cannot be set up.
pub fn run(parts: Parts, listener: std::net::TcpListener) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        listener.set_nonblocking(true)?;
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let worker = Worker::new(parts);
        let pool = Rc::downgrade(&worker.http);
        let _sweeper = tasks::spawn_local("sweeper", async move {
            while let Some(pool) = pool.upgrade() {
                pool.sweep();
                drop(pool);
                tokio::time::sleep(SWEEP).await;
            }
        });
        listen::run(worker, listener).await;
        Ok(())
    })
}

/// Everything of one worker.
pub(crate) struct Worker {
    pub(crate) me: Arc<Me>,
    pub(crate) state: State,
    pub(crate) series: Series,
    pub(crate) access_log: AccessLog,
    pub(crate) drain: drain::Watch,
    pub(crate) tunnels: TunnelPool,
    pub(crate) http: Rc<HttpPool>,
    pub(crate) balance: RefCell<Balance>,
    lease: Lease,
    rng: RefCell<StdRng>,
}

impl Worker {
    pub(crate) fn new(parts: Parts) -> Rc<Self> {
        use rand::SeedableRng;
        Rc::new(Self {
            me: parts.me,
            state: parts.state,
            series: parts.series,
            access_log: parts.access_log,
            drain: parts.drain,
            tunnels: TunnelPool::new(TunnelSettings::default()),
            http: Rc::default(),
            balance: RefCell::default(),
            lease: parts.lease,
            rng: RefCell::new(StdRng::seed_from_u64(parts.seed)),
        })
    }

    /// Our certificate, if there is a valid one.
    pub(crate) fn svid(&self) -> Option<Arc<Svid>> {
        self.lease.current()
    }

    /// Random numbers. Never held across a wait.
    pub(crate) fn rng(&self) -> RefMut<'_, StdRng> {
        self.rng.borrow_mut()
    }
}
