//! Live connections of one worker.
//! In: a record when a connection is established. Out: views for admin, a way to cut it, and the
//! inputs of its decision, so that it can be decided again when policy changes.
//! Owns: the list; the connection's task owns the sockets and hears of a cut through its channel.
//! Must not: be shared between workers.

use crate::flow::Flow;
use crate::outcome::Cut;
use crate::pod::Pod;
use ambit_model::ids::Generation;
use ambit_routing::connection::inbound::ArrivedConn;
use slab::Slab;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use tokio::sync::oneshot;

/// The live connections of a worker.
#[derive(Debug, Default)]
pub struct Registry {
    live: RefCell<Slab<Entry>>,
}

#[derive(Debug)]
struct Entry {
    flow: Rc<Flow>,
    pod: Arc<Pod>,
    /// Inputs of the decision, for connections into the pod.
    arrived: Option<ArrivedConn>,
    decided: Generation,
    cut: Option<oneshot::Sender<Cut>>,
}

/// A place in the registry; leaving it is dropping this.
#[derive(Debug)]
pub struct Place {
    registry: Rc<Registry>,
    key: usize,
    cut: oneshot::Receiver<Cut>,
}

impl Place {
    /// Waits until somebody cuts the connection. Cancel-safe.
    pub async fn cut(&mut self) -> Cut {
        match (&mut self.cut).await {
            Ok(cut) => cut,
            // The sender lives in the entry, which lives as long as this place.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.registry.live.borrow_mut().remove(self.key);
    }
}

impl Registry {
    /// Adds a connection that is established; `arrived` for one into the pod.
    pub fn enter(
        self: &Rc<Self>,
        flow: Rc<Flow>,
        pod: Arc<Pod>,
        arrived: Option<ArrivedConn>,
        decided: Generation,
    ) -> Place {
        let (sender, cut) = oneshot::channel();
        let entry = Entry {
            flow,
            pod,
            arrived,
            decided,
            cut: Some(sender),
        };
        let key = self.live.borrow_mut().insert(entry);
        Place {
            registry: self.clone(),
            key,
            cut,
        }
    }

    /// How many connections live.
    pub fn len(&self) -> usize {
        self.live.borrow().len()
    }

    /// Whether none lives.
    pub fn is_empty(&self) -> bool {
        self.live.borrow().is_empty()
    }

    /// Cuts those for which `doomed` says so.
    pub fn cut_where(&self, reason: Cut, doomed: impl Fn(&Pod) -> bool) {
        for (_, entry) in self.live.borrow_mut().iter_mut() {
            if doomed(&entry.pod) {
                entry.cut(reason);
            }
        }
    }

    /// Decides all connections into pods again that were decided by an older snapshot; those for
    /// which `still_allowed` says no are cut.
    pub fn decide_again(
        &self,
        generation: Generation,
        still_allowed: impl Fn(&Pod, &ArrivedConn) -> bool,
    ) {
        for (_, entry) in self.live.borrow_mut().iter_mut() {
            let Some(arrived) = entry
                .arrived
                .as_ref()
                .filter(|_| entry.decided < generation)
            else {
                continue;
            };
            if still_allowed(&entry.pod, arrived) {
                entry.decided = generation;
            } else {
                entry.cut(Cut::PolicyChange);
            }
        }
    }

    /// Calls `visit` with each live connection.
    pub fn each(&self, mut visit: impl FnMut(&Flow, &Pod, Generation)) {
        for (_, entry) in self.live.borrow().iter() {
            visit(&entry.flow, &entry.pod, entry.decided);
        }
    }
}

impl Entry {
    fn cut(&mut self, reason: Cut) {
        if let Some(cut) = self.cut.take() {
            // The task may have ended at this very moment.
            let _ = cut.send(reason);
        }
    }
}
