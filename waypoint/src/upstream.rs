//! From a cluster to an answer: which endpoint, over which connection.
//! In: a cluster name and a request. Out: a response, or a typed reason.
//! Owns, per worker: connections to endpoints, what each of them is doing, what names of requests resolve to,
//! random numbers.
//! Never here: routes, retries, what is said to the client.

mod again;
pub(crate) mod balance;
pub(crate) mod by_host;
pub(crate) mod connect;
mod dialled;
pub(crate) mod direct;
pub(crate) mod endpoints;
pub(crate) mod pool;
mod race;

use crate::me::Me;
use crate::state::State;
use ambit_hbone::io::{Pool as TunnelPool, Settings};
use ambit_identity::{Lease, Svid};
use balance::Balance;
use pool::HttpPool;
use rand::SeedableRng;
use rand::rngs::StdRng;
use std::cell::{RefCell, RefMut};
use std::rc::Rc;
use std::sync::Arc;

/// All endpoints, as one worker reaches them.
pub(crate) struct Upstreams {
    me: Arc<Me>,
    state: State,
    lease: Lease,
    tunnels: TunnelPool,
    http: Rc<HttpPool>,
    balance: RefCell<Balance>,
    rng: RefCell<StdRng>,
    /// What hosts of requests resolve to.
    names: by_host::Names,
}

impl Upstreams {
    pub(crate) fn new((me, state): (Arc<Me>, State), lease: Lease, seed: u64) -> Rc<Self> {
        Rc::new(Self {
            me,
            state,
            lease,
            tunnels: TunnelPool::new(Settings::default()),
            http: Rc::default(),
            balance: RefCell::default(),
            rng: RefCell::new(StdRng::seed_from_u64(seed)),
            names: by_host::Names::of_system(),
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

    /// Lets go connections nobody has used for a while, and those made with a former certificate.
    pub(crate) fn sweep(&self) {
        if let Some(svid) = self.svid() {
            self.tunnels.keep_only(&svid);
        }
        self.http.sweep();
    }

    /// Lets go all connections and waits until the endpoints have everything; no request may be in
    /// progress.
    pub(crate) async fn close(&self) {
        self.http.clear();
        self.tunnels.close().await;
    }
}
