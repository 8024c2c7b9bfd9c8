//! Readiness: named gates that must all be open.
//! In: gates opened and closed by the parts of a program. Out: 200 `ready`, or 500 with what is missing.
//! A gate dropped without [`Gate::open`] stays closed: a part that died does not make us ready.
//! Spec: `GET /healthz/ready` as istio's node proxy answers it.

use crate::admin::{Reply, Routes};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

/// The gates of one process. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Readiness {
    closed: Arc<Mutex<BTreeSet<&'static str>>>,
}

/// One named gate; may open and close any number of times.
#[derive(Debug, Clone)]
pub struct Gate {
    name: &'static str,
    readiness: Readiness,
}

impl Readiness {
    /// No gates: ready.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a closed gate. Two gates with one name are the same gate.
    pub fn gate(&self, name: &'static str) -> Gate {
        let gate = Gate {
            name,
            readiness: self.clone(),
        };
        gate.close();
        gate
    }

    /// Names of the closed gates, sorted; empty means ready.
    pub fn pending(&self) -> Vec<&'static str> {
        let closed = self.closed.lock().unwrap_or_else(PoisonError::into_inner);
        closed.iter().copied().collect()
    }

    /// Whether all gates are open.
    pub fn is_ready(&self) -> bool {
        self.pending().is_empty()
    }

    /// Adds `GET /healthz/ready` and `GET /ready`.
    pub fn routes(&self, routes: Routes) -> Routes {
        let (one, two) = (self.clone(), self.clone());
        routes
            .get("/healthz/ready", "readiness", move |_| one.reply())
            .get("/ready", "readiness", move |_| two.reply())
    }

    fn reply(&self) -> Reply {
        let pending = self.pending();
        if pending.is_empty() {
            Reply::text("ready\n")
        } else {
            Reply::error(
                http::StatusCode::INTERNAL_SERVER_ERROR,
                format!("not ready: waiting for {}\n", pending.join(", ")),
            )
        }
    }
}

impl Gate {
    /// This part is ready.
    pub fn open(&self) {
        self.change(|closed, name| closed.remove(name));
    }

    /// This part is not ready, or no longer.
    pub fn close(&self) {
        self.change(|closed, name| closed.insert(name));
    }

    fn change(&self, apply: impl FnOnce(&mut BTreeSet<&'static str>, &'static str) -> bool) {
        let mut closed = self
            .readiness
            .closed
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if apply(&mut closed, self.name) {
            let waiting = closed.len();
            drop(closed);
            tracing::debug!(gate = self.name, waiting, "readiness changed");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ready_only_when_every_gate_is_open() {
        let readiness = Readiness::new();
        let state = readiness.gate("state");
        let proxy = readiness.gate("proxy");
        assert_eq!(readiness.pending(), ["proxy", "state"]);
        state.open();
        proxy.open();
        assert!(readiness.is_ready());
        proxy.close();
        assert_eq!(readiness.reply().status, 500);
        assert_eq!(
            readiness.reply().body,
            "not ready: waiting for proxy\n".as_bytes()
        );
    }

    #[test]
    fn a_dropped_gate_stays_closed() {
        let readiness = Readiness::new();
        drop(readiness.gate("state"));
        assert!(!readiness.is_ready());
    }
}
