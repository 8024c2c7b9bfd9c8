//! One data-plane worker: everything its connections and requests use, none of it shared with
//! other threads except by snapshot, certificate lease and counters.
//! In: settings and shared handles, from `app`. Out: [`Worker`], held by every task of the worker.
//! Owns: its series and its connections to endpoints.

use crate::leaving::Arrivals;
use crate::limits::Limits;
use crate::me::Me;
use crate::metrics::Series;
use crate::state::State;
use crate::upstream::Upstreams;
use ambit_identity::{Lease, SecretStore, Svid};
use ambit_runtime::drain;
use ambit_runtime::readiness::Gate;
use ambit_telemetry::access_log::AccessLog;
use rand::rngs::StdRng;
use std::cell::RefMut;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

/// What a worker is made of.
#[derive(Debug)]
pub struct Parts {
    /// Who we are.
    pub me: Arc<Me>,
    /// What clients may ask.
    pub limits: Limits,
    /// What we know.
    pub state: State,
    /// Our certificate.
    pub lease: Lease,
    /// Whose certificates are revoked.
    pub secrets: SecretStore,
    /// Our series.
    pub series: Series,
    /// Access lines.
    pub access_log: AccessLog,
    /// The order to stop: others are learning that we go.
    pub leaving: drain::Watch,
    /// Tells when to stop.
    pub drain: drain::Watch,
    /// Address that plaintext listeners bind.
    pub any: IpAddr,
    /// Open while every plaintext listener is served.
    pub listening: Gate,
    /// Counts who comes.
    pub arrivals: Arrivals,
    /// Beginning of this worker's random numbers.
    pub seed: u64,
}

/// Everything of one worker.
pub(crate) struct Worker {
    pub(crate) me: Arc<Me>,
    pub(crate) limits: Limits,
    pub(crate) state: State,
    pub(crate) secrets: SecretStore,
    pub(crate) series: Series,
    pub(crate) access_log: AccessLog,
    pub(crate) leaving: drain::Watch,
    pub(crate) drain: drain::Watch,
    pub(crate) arrivals: Arrivals,
    pub(crate) upstreams: Rc<Upstreams>,
}

impl Worker {
    pub(crate) fn new(parts: Parts) -> Rc<Self> {
        let (me, state) = (parts.me, parts.state);
        Rc::new(Self {
            upstreams: Upstreams::new((me.clone(), state.clone()), parts.lease, parts.seed),
            me,
            limits: parts.limits,
            state,
            secrets: parts.secrets,
            series: parts.series,
            access_log: parts.access_log,
            leaving: parts.leaving,
            drain: parts.drain,
            arrivals: parts.arrivals,
        })
    }

    /// Our certificate, if there is a valid one.
    pub(crate) fn svid(&self) -> Option<Arc<Svid>> {
        self.upstreams.svid()
    }

    /// Random numbers. Never held across a wait.
    pub(crate) fn rng(&self) -> RefMut<'_, StdRng> {
        self.upstreams.rng()
    }
}
