//! The HBONE side: tunnels from clients' node proxies, one CONNECT stream per application connection.
//! In: TCP connections on port 15008. Out: streams whose destination we serve, handed to `http` or
//! `tcp`. Refusals carry a status and a reason.
//! Owns: the thread, runtime and tunnels of its worker. Must not happen here: a stream of a client
//! without identity, a wait without a deadline.

mod accept;
mod stream;

use crate::ingress;
use crate::upstream::pool::SWEEP;
use crate::worker::{Parts, Worker};
use ambit_runtime::tasks;
use std::io;
use std::rc::Rc;

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
        let (any, listening) = (parts.any, parts.listening.clone());
        let worker = Worker::new(parts);
        let upstreams = Rc::downgrade(&worker.upstreams);
        let _sweeper = tasks::spawn_local("sweeper", async move {
            while let Some(held) = upstreams.upgrade() {
                held.sweep();
                drop(held);
                tokio::time::sleep(SWEEP).await;
            }
        });
        tokio::join!(
            accept::run(worker.clone(), listener),
            ingress::run(worker.clone(), any, listening),
        );
        let mut drain = worker.drain.clone();
        tokio::select! {
            () = worker.upstreams.close() => {}
            () = drain.expired() => {}
        }
        Ok(())
    })
}
