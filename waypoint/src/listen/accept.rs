//! The accept loop of one worker.
//! In: its listener. Out: a task per tunnel. Stops accepting when the drain begins; tunnels are then
//! told to open no more streams and end with their last one.

use super::stream;
use crate::worker::Worker;
use ambit_hbone::io::{Settings, accept};
use ambit_runtime::causes::causes;
use ambit_runtime::tasks::TaskGroup;
use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// Handshakes of one worker at a time; more are refused.
const HANDSHAKES: usize = 512;
/// Pause after a failed accept: out of descriptors, another at once would spin.
const PAUSE: Duration = Duration::from_millis(50);

/// Accepts until the drain begins, then waits until all tunnels have ended.
pub(super) async fn run(worker: Rc<Worker>, listener: TcpListener) {
    let mut drain = worker.drain.clone();
    let mut tunnels = TaskGroup::new("tunnels");
    let shaking = Rc::new(Cell::new(0));
    loop {
        let accepted = tokio::select! {
            _ = drain.signalled() => break,
            accepted = listener.accept() => accepted,
        };
        tunnels.reap();
        match accepted {
            Ok((tcp, peer)) => {
                let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                if shaking.get() >= HANDSHAKES {
                    worker.series.tunnels_refused.inc();
                    continue;
                }
                let handshake = Handshake::begin(&shaking);
                tunnels.spawn_local("tunnel", tunnel(worker.clone(), tcp, peer, handshake));
            }
            Err(error) => {
                tracing::warn!(%error, "accept on the HBONE port failed");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    tokio::select! {
        () = tunnels.wait() => {}
        () = drain.expired() => tracing::info!(tunnels = tunnels.len(), "drain deadline cuts tunnels"),
    }
}

/// One of the handshakes in progress.
struct Handshake(Rc<Cell<usize>>);

impl Handshake {
    fn begin(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self(count.clone())
    }
}

impl Drop for Handshake {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

async fn tunnel(worker: Rc<Worker>, tcp: TcpStream, peer: SocketAddr, handshake: Handshake) {
    // Without it small writes of the mux wait for acknowledgements; a socket that is gone needs none.
    let _ = tcp.set_nodelay(true);
    let Some(svid) = worker.svid() else {
        worker.series.tunnels_refused.inc();
        tracing::warn!(src.addr = %peer, "tunnel refused: this waypoint has no certificate yet");
        return;
    };
    let accepted = accept(tcp, &svid, &Settings::default()).await;
    drop(handshake);
    let tunnel = match accepted {
        Ok(tunnel) => tunnel,
        Err(error) => {
            worker.series.tunnels_refused.inc();
            tracing::debug!(src.addr = %peer, error = causes(&error), "no tunnel");
            return;
        }
    };
    let identity = tunnel.peer().clone();
    let mut drain = worker.drain.clone();
    let begun = async move {
        drain.signalled().await;
    };
    let serving = worker.clone();
    let served = tunnel.serve(begun, move |incoming| {
        stream::serve(serving.clone(), (peer, identity.clone()), incoming)
    });
    if let Err(error) = served.await {
        tracing::debug!(src.addr = %peer, error = causes(&error), "tunnel ended");
    }
}
