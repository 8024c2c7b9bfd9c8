//! HBONE tunnels to a pod.
//! In: accepted connections on port 15008. Out: one outcome per CONNECT stream; its status and
//! `x-ambit-reason` tell the client what happened. 200 is sent once the application is connected.
//! A handshake counts against the pod's budget; each step has a deadline. A tunnel ends with its streams when a
//! certificate of the peer is revoked.

use super::admitted::Admitted;
use super::labels;
use crate::accept::{Accepted, Stop};
use crate::baggage;
use crate::flow::{self, Direction, Facts};
use crate::gather;
use crate::outcome::Failure;
use crate::pod::Pod;
use crate::worker::Worker;
use ambit_hbone::io::{self, AcceptError, Incoming, ServerTunnel, TunnelError};
use ambit_hbone::wire::{Authority, Baggage, ConnectRequest, Host};
use ambit_identity::tls::TlsError;
use ambit_identity::verify::VerifyError;
use ambit_model::ids::SpiffeId;
use ambit_net::original_dst;
use ambit_routing::connection::inbound::{self, Arrival, ArrivedConn, InboundDecision, decide};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;
use tokio::net::TcpStream;

/// Serves one tunnel: its handshake, then its streams, until the peer closes it or, after `stop`,
/// until its streams have ended.
pub async fn serve(worker: Rc<Worker>, pod: Arc<Pod>, accepted: Accepted, stop: Stop) {
    let started = Instant::now();
    let Accepted { stream, peer } = accepted;
    let local = match original_dst::local(&stream) {
        Ok(local) => local,
        // The peer has gone already.
        Err(_) => return,
    };
    let mut facts = Facts::bare(Direction::Inbound, peer, local);
    let tunnel = match Box::pin(handshake(&worker, &pod, stream, &mut facts)).await {
        Ok(tunnel) => tunnel,
        Err(failure) => return flow::refused(&worker.books, &facts, started, &failure),
    };
    let from = Rc::new(TunnelPeer {
        peer,
        local,
        identity: tunnel.peer().clone(),
    });
    labels::peer(&mut facts, tunnel.peer());
    let facts = Rc::new(facts);
    let tunnel = tunnel.on_refused({
        let (worker, facts) = (worker.clone(), facts.clone());
        move |refused| {
            let failure = Failure::PeerStream(refused);
            flow::refused(&worker.books, &facts, Instant::now(), &failure);
        }
    });
    let handle = |incoming| serve_stream(worker.clone(), pod.clone(), from.clone(), incoming);
    let shown = tunnel.certificates().clone();
    let served = tokio::select! {
        served = tunnel.serve(stopped(stop), handle) => served,
        serial = worker.shared.secrets.revoked(&shown) => {
            let error = VerifyError::Revoked { serial };
            let failure = Failure::Accept(AcceptError::Tls(TlsError::Peer(error)));
            return flow::refused(&worker.books, &facts, started, &failure);
        }
    };
    match served {
        Ok(()) => {}
        // Its streams have said so, each for itself.
        Err(error @ TunnelError::Mux(_)) => {
            let error = ambit_runtime::causes::causes(&error);
            tracing::debug!(src.addr = %peer, src.identity = %from.identity, error, "tunnel ended");
        }
        Err(error) => {
            flow::refused(&worker.books, &facts, started, &Failure::PeerTunnel(error));
        }
    }
}

async fn stopped(mut stop: Stop) {
    // A sender that is gone means the same.
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn handshake(
    worker: &Worker,
    pod: &Arc<Pod>,
    stream: TcpStream,
    facts: &mut Facts,
) -> Result<ServerTunnel<TcpStream>, Failure> {
    let permit = pod.handshake().ok_or(Failure::HandshakeBudget)?;
    let own = gather::own_workload(&worker.shared.state, pod).await?;
    labels::destination(facts, &own.workload);
    let svid = worker.svid(&own.workload.identity).await?;
    let settings = &worker.shared.config.tunnel;
    let tunnel = io::accept(stream, &svid, settings)
        .await
        .map_err(Failure::Accept)?;
    drop(permit);
    Ok(tunnel)
}

/// Who is at the other end of a tunnel.
#[derive(Debug)]
struct TunnelPeer {
    peer: SocketAddr,
    local: SocketAddr,
    identity: SpiffeId,
}

async fn serve_stream(
    worker: Rc<Worker>,
    pod: Arc<Pod>,
    from: Rc<TunnelPeer>,
    mut incoming: Incoming,
) {
    let started = Instant::now();
    let mut facts = Facts::bare(Direction::Inbound, from.peer, from.local);
    let request = incoming.request.clone();
    let admitted = tokio::select! {
        admitted = Box::pin(admit(&worker, &pod, (&from, &request), &mut facts)) => admitted,
        () = incoming.cancelled() => Err(Failure::Cancelled),
    };
    let admitted = match admitted {
        Ok(admitted) => admitted,
        Err(failure) => {
            let verdict = failure.verdict();
            incoming.refuse(verdict.status, verdict.reason);
            return flow::refused(&worker.books, &facts, started, &failure);
        }
    };
    let reply = baggage::of(&admitted.arrived.destination).to_header();
    let reply = reply.filter(|_| worker.shared.config.response_baggage);
    let stream = match incoming.accept(reply) {
        Ok(stream) => stream,
        Err(error) => {
            return flow::refused(&worker.books, &facts, started, &Failure::ClientGone(error));
        }
    };
    admitted
        .relay(stream, (&worker, pod), (facts, started))
        .await;
}

async fn admit(
    worker: &Worker,
    pod: &Arc<Pod>,
    (from, request): (&TunnelPeer, &ConnectRequest),
    facts: &mut Facts,
) -> Result<Admitted, Failure> {
    facts.hbone = Some(request.authority.to_string());
    let own = gather::own_workload(&worker.shared.state, pod).await?;
    let network = own.workload.network.clone();
    let claims = Baggage::from_header(request.baggage.as_ref());
    let claims = labels::Claims {
        identity: &from.identity,
        baggage: &claims,
    };
    labels::destination(facts, &own.workload);
    labels::source(facts, &own.snapshot, &network, Some(claims));
    labels::proved(facts, &own.workload.identity, &from.identity);
    let arrived = ArrivedConn {
        destination: own.workload.clone(),
        source: from.peer,
        local: from.local,
        arrival: Arrival::Hbone {
            identity: from.identity.clone(),
            authority: authority(&request.authority),
        },
    };
    let decided = decide(&own.snapshot, &arrived);
    let named = request.forwarded.as_ref().and_then(|f| f.host.as_deref());
    let port = match &decided.decision {
        InboundDecision::Connect(connect) => connect.to.port(),
        InboundDecision::Refuse(_) => request.authority.port,
    };
    labels::service(facts, &own.snapshot, &own.workload, (named, port));
    Admitted::by(decided, (worker, pod), arrived, &own.snapshot).await
}

fn authority(asked: &Authority) -> inbound::Authority {
    match &asked.host {
        Host::Ip(ip) => inbound::Authority::Address(SocketAddr::new(*ip, asked.port)),
        Host::Name(name) => inbound::Authority::Name {
            hostname: name.to_string(),
            port: asked.port,
        },
    }
}
