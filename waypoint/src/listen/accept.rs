//! The accept loop of one worker.
//! In: its listener. Out: a task per tunnel. Stops accepting when the drain begins; tunnels are then
//! told to open no more streams and end with their last one.

use super::stream;
use crate::places::{Limits, Place, Places};
use crate::worker::Worker;
use ambit_hbone::io::{AcceptError, Settings, StreamRefused, TunnelError, accept};
use ambit_identity::tls::TlsError;
use ambit_identity::verify::VerifyError;
use ambit_runtime::causes::causes;
use ambit_runtime::tasks::TaskGroup;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// Handshakes in progress.
const HANDSHAKES: Limits = Limits {
    in_all: 512,
    for_one: 64,
};
/// Tunnels, open or in the making. A node proxy puts up to 100 streams on one.
const TUNNELS: Limits = Limits {
    in_all: 16_384,
    for_one: 512,
};
/// Pause after a failed accept: out of descriptors, another at once would spin.
const PAUSE: Duration = Duration::from_millis(50);

/// Accepts until the drain begins, then waits until all tunnels have ended.
pub(super) async fn run(worker: Rc<Worker>, listener: TcpListener) {
    let mut drain = worker.drain.clone();
    let mut tunnels = TaskGroup::new("tunnels");
    let (handshakes, open) = (Places::new(HANDSHAKES), Places::new(TUNNELS));
    loop {
        let accepted = tokio::select! {
            _ = drain.signalled() => break,
            accepted = listener.accept() => accepted,
        };
        tunnels.reap();
        match accepted {
            Ok((tcp, peer)) => {
                worker.arrivals.count();
                let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
                let (handshake, place) = match (handshakes.take(peer.ip()), open.take(peer.ip())) {
                    (Some(handshake), Some(place)) => (handshake, place),
                    (None, _) => {
                        full(&worker, peer, (&handshakes, "handshake-budget"));
                        continue;
                    }
                    (_, None) => {
                        full(&worker, peer, (&open, "tunnel-limit"));
                        continue;
                    }
                };
                let tunnel = tunnel(worker.clone(), tcp, peer, handshake);
                tunnels.spawn_local("tunnel", async move {
                    tunnel.await;
                    drop(place);
                });
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

/// There is no place for one more tunnel.
fn full(worker: &Worker, peer: SocketAddr, (places, reason): (&Places, &'static str)) {
    worker.series.refused(reason);
    if places.is_news() {
        tracing::warn!(src.addr = %peer, error = reason, "tunnels refused");
    }
}

async fn tunnel(worker: Rc<Worker>, tcp: TcpStream, peer: SocketAddr, handshake: Place) {
    // Without it small writes of the mux wait for acknowledgements; a socket that is gone needs none.
    let _ = tcp.set_nodelay(true);
    let Some(svid) = worker.svid() else {
        worker.series.refused("no-certificate");
        tracing::warn!(src.addr = %peer, error = "this waypoint has no certificate yet", "tunnel refused");
        return;
    };
    let accepted = accept(tcp, &svid, &Settings::default()).await;
    drop(handshake);
    let tunnel = match accepted {
        Ok(tunnel) => tunnel,
        Err(error) => return refused(&worker, peer, &error),
    };
    let identity = tunnel.peer().clone();
    let tunnel = tunnel.on_refused({
        let (worker, identity) = (worker.clone(), identity.clone());
        move |error| {
            worker.series.refused(stream_reason(&error));
            tracing::warn!(
                src.addr = %peer,
                src.identity = %identity,
                error = causes(&error),
                "stream refused"
            );
        }
    });
    let shown = tunnel.certificates().clone();
    let mut drain = worker.drain.clone();
    let begun = async move {
        drain.signalled().await;
    };
    let serving = worker.clone();
    let served = tunnel.serve(begun, move |incoming| {
        stream::serve(serving.clone(), (peer, identity.clone()), incoming)
    });
    let served = tokio::select! {
        served = served => served,
        serial = worker.secrets.revoked(&shown) => {
            let error = VerifyError::Revoked { serial };
            return refused(&worker, peer, &AcceptError::Tls(TlsError::Peer(error)));
        }
    };
    match served {
        Ok(()) => {}
        // Its streams have said so, each for itself.
        Err(error @ TunnelError::Mux(_)) => {
            tracing::debug!(src.addr = %peer, error = causes(&error), "tunnel ended");
        }
        Err(error @ (TunnelError::Violation(_) | TunnelError::Ping { .. })) => {
            worker.series.refused(tunnel_reason(&error));
            tracing::warn!(src.addr = %peer, error = causes(&error), "tunnel of the peer failed");
        }
    }
}

/// No tunnel came to be.
fn refused(worker: &Worker, peer: SocketAddr, error: &AcceptError) {
    worker.series.refused(accept_reason(error));
    // Who only looks whether the port is open says nothing.
    if matches!(error, AcceptError::Tls(TlsError::Io(_))) {
        tracing::debug!(src.addr = %peer, error = causes(error), "no tunnel from the peer");
    } else {
        tracing::warn!(src.addr = %peer, error = causes(error), "no tunnel from the peer");
    }
}

/// Words of the node proxy for the same.
fn accept_reason(error: &AcceptError) -> &'static str {
    match error {
        AcceptError::Tls(_) => "tls",
        AcceptError::H2(_) | AcceptError::Timeout { .. } => "h2",
    }
}

fn stream_reason(error: &StreamRefused) -> &'static str {
    match error {
        StreamRefused::Request(_) => "bad-request",
        StreamRefused::Headers { .. } => "headers",
        StreamRefused::Full { .. } => "stream-limit",
    }
}

fn tunnel_reason(error: &TunnelError) -> &'static str {
    match error {
        TunnelError::Violation(_) => "h2",
        TunnelError::Ping { .. } => "ping",
        TunnelError::Mux(_) => "broken",
    }
}
