//! Plaintext listeners of an ingress gateway: HTTP from outside the mesh.
//! In: the ports that the Gateway resource names. Out: connections, each handed to `http`; their requests
//! find their routes by the host they name.
//! Owns: the listeners of its worker and their connections. Must not happen here: a request let in that
//! the gateway's policies have not admitted; an identity for a client that proved none.
//! Spec: Gateway API `Gateway.spec.listeners`; ARCHITECTURE.md.

mod listener;

use crate::places::{Limits, Places};
use crate::worker::Worker;
use ambit_net::socket::{ListenError, ListenSpec};
use ambit_runtime::causes::causes;
use ambit_runtime::readiness::Gate;
use ambit_runtime::tasks::{Task, TaskGroup};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpListener;

/// Connections of all listeners of one worker. Behind a load balancer many clients share an address.
const CONNECTIONS: Limits = Limits {
    in_all: 16_384,
    for_one: 8_192,
};
/// How soon a port that could not be bound is tried again.
const AGAIN: Duration = Duration::from_secs(2);

/// Serves the listeners that configuration names, until the drain is over. `listening` is open while
/// all of them are bound.
pub(crate) async fn run(worker: Rc<Worker>, any: IpAddr, listening: Gate) {
    let mut drain = worker.drain.clone();
    let mut changes = worker.state.changes();
    let connections = Rc::new(RefCell::new(TaskGroup::new("plaintext connections")));
    let places = Places::new(CONNECTIONS);
    let mut listeners: BTreeMap<u16, Task<()>> = BTreeMap::new();
    loop {
        changes.mark_unchanged();
        let known = wanted(&worker);
        // What is no longer known is served on: its requests are refused until it is back.
        let wanted = known
            .clone()
            .unwrap_or_else(|| listeners.keys().copied().collect());
        listeners.retain(|port, accepting| {
            let stays = wanted.contains(port);
            if !stays {
                tracing::info!(port, "plaintext listener closed");
                accepting.abort();
            }
            stays
        });
        let mut failed = false;
        for port in wanted {
            if listeners.contains_key(&port) {
                continue;
            }
            match bind(SocketAddr::new(any, port)) {
                Ok(bound) => {
                    tracing::info!(port, "plaintext listener");
                    let accept =
                        listener::run(worker.clone(), bound, (connections.clone(), places.clone()));
                    let task = ambit_runtime::tasks::spawn_local("plaintext listener", accept);
                    listeners.insert(port, task);
                }
                Err(error) => {
                    failed = true;
                    worker.series.refused("port-not-bound");
                    tracing::warn!(port, error = causes(&error), "a listener cannot be served");
                }
            }
        }
        match known.is_some() && !failed {
            true => listening.open(),
            false => listening.close(),
        }
        tokio::select! {
            _ = drain.signalled() => break,
            changed = changes.changed() => if changed.is_err() { break },
            () = tokio::time::sleep(AGAIN), if failed => {}
        }
    }
    drop(listeners);
    let mut left = connections.replace(TaskGroup::new("plaintext connections"));
    tokio::select! {
        () = left.wait() => {}
        () = drain.expired() => {
            tracing::info!(connections = left.len(), "drain deadline cuts plaintext connections");
        }
    }
}

/// Ports to serve; `None`: not known.
fn wanted(worker: &Worker) -> Option<Vec<u16>> {
    let view = worker.state.load();
    view.gateway().map(|gateway| gateway.ports.clone())
}

fn bind(addr: SocketAddr) -> Result<TcpListener, ListenError> {
    let spec = ListenSpec {
        reuse_port: true,
        ..ListenSpec::new(addr)
    };
    let failed = |source| ListenError {
        addr,
        step: ambit_net::socket::Step::Listen,
        source,
    };
    let listener = spec.tcp(None)?;
    listener.set_nonblocking(true).map_err(failed)?;
    TcpListener::from_std(listener).map_err(failed)
}
