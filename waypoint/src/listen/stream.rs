//! One CONNECT stream: who is addressed, and what is spoken.
//! In: a CONNECT. Out: 200 and HTTP or bytes, or a refusal with its reason: `not-served` (no such
//! service or not ours), `not-ready` (configuration has not arrived).

use crate::downstream::{Downstream, source};
use crate::http::server;
use crate::http::sniff::{self, Spoken};
use crate::state::View;
use crate::stream_io::{HboneIo, StreamIo};
use crate::tcp;
use crate::worker::Worker;
use ambit_hbone::io::Incoming;
use ambit_hbone::wire::{Authority, Baggage, Host};
use ambit_model::address::NetworkAddress;
use ambit_model::ids::SpiffeId;
use ambit_model::route::Protocol;
use ambit_model::service::Service;
use http::StatusCode;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// How long a client may be silent until its stream counts as bytes: some servers speak first.
const SILENCE: Duration = Duration::from_secs(5);

/// Serves it to its end.
pub(super) async fn serve(
    worker: Rc<Worker>,
    (peer, identity): (SocketAddr, SpiffeId),
    incoming: Incoming,
) {
    let authority = incoming.request.authority.clone();
    let found = worker
        .state
        .wait_for(|view| destination(&worker, view, &authority))
        .await;
    let Some((service, local, protocol)) = found else {
        let complete = worker.state.load().is_complete();
        let reason = if complete { "not-served" } else { "not-ready" };
        tracing::warn!(
            src.addr = %peer,
            src.identity = %identity,
            dst.addr = %authority,
            error = reason,
            "stream refused"
        );
        incoming.refuse(StatusCode::SERVICE_UNAVAILABLE, reason);
        return;
    };
    let baggage = Baggage::from_header(incoming.request.baggage.as_ref());
    let forwarded = incoming.request.forwarded.as_ref().map(|f| f.client);
    // The port is the node proxy's word; the address is checked.
    let client = forwarded.filter(|f| f.ip().to_canonical() == peer.ip().to_canonical());
    let client = client.unwrap_or(peer);
    let Ok(stream) = incoming.accept(worker.me.baggage.clone()) else {
        return;
    };
    let downstream = Rc::new(Downstream {
        source: source(&worker, &identity, client, &baggage),
        worker,
        identity,
        client,
        service,
        local,
    });
    speak(downstream, StreamIo::new(stream), protocol).await;
}

async fn speak(downstream: Rc<Downstream>, mut io: HboneIo, protocol: Protocol) {
    let spoken = match protocol {
        Protocol::Tcp => Spoken::Bytes,
        // Silence says nothing on a port that is declared to be HTTP.
        Protocol::Http1 | Protocol::Http2 | Protocol::Grpc => match listen(&mut io).await {
            Some(Spoken::Http2) => Spoken::Http2,
            Some(Spoken::Http1 | Spoken::Bytes) => Spoken::Http1,
            None => return server::shut(io).await,
        },
        Protocol::Auto => match tokio::time::timeout(SILENCE, listen(&mut io)).await {
            Ok(Some(spoken)) => spoken,
            Ok(None) => return server::shut(io).await,
            Err(_) => Spoken::Bytes,
        },
    };
    match spoken {
        Spoken::Http1 => server::http1(downstream, io).await,
        Spoken::Http2 => server::http2(downstream, io).await,
        Spoken::Bytes => tcp::serve(downstream, io).await,
    }
}

/// What the first bytes say; `None`: the stream ended or broke before it said anything.
async fn listen(io: &mut HboneIo) -> Option<Spoken> {
    let mut had = 0;
    loop {
        let ahead = io.peek(sniff::ENOUGH).await.ok()?;
        if let Some(spoken) = sniff::tell(ahead) {
            return Some(spoken);
        }
        if ahead.len() == had {
            return (had > 0).then_some(Spoken::Bytes);
        }
        had = ahead.len();
    }
}

/// The service addressed, its address and what is spoken on that port; only if we run its routes.
fn destination(
    worker: &Worker,
    view: &View,
    authority: &Authority,
) -> Option<(Arc<Service>, SocketAddr, Protocol)> {
    let namespace = &worker.me.namespace;
    let (service, ip) = match &authority.host {
        Host::Ip(ip) => {
            let address = NetworkAddress::new(worker.me.network.clone(), *ip);
            (view.mesh.service_at(&address, namespace)?, *ip)
        }
        Host::Name(name) => {
            let service = view.mesh.service_by_hostname(name, namespace)?;
            (service, service.addresses.first()?.block.addr())
        }
    };
    let router = view.router(&service.key, authority.port)?;
    Some((
        service.clone(),
        SocketAddr::new(ip, authority.port),
        router.protocol,
    ))
}
