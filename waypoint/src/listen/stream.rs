//! One CONNECT stream: who is addressed, and what is spoken.
//! In: a CONNECT. Out: 200 and HTTP or bytes, or a refusal with its reason: `not-served` (no such
//! service or not ours), `not-ready` (configuration has not arrived).

use crate::destination::{self, Destination};
use crate::downstream::{Downstream, source};
use crate::filters::client_identity;
use crate::http::opening::{self, Heard};
use crate::http::server;
use crate::http::sniff::Spoken;
use crate::stream_io::{HboneIo, StreamIo};
use crate::tcp;
use crate::worker::Worker;
use ambit_hbone::io::Incoming;
use ambit_hbone::wire::Baggage;
use ambit_model::ids::SpiffeId;
use ambit_model::route::Protocol;
use http::StatusCode;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

/// How long a client may be silent until its stream counts as bytes: some servers speak first.
const SILENCE: Duration = Duration::from_secs(5);

/// Serves it to its end.
pub(super) async fn serve(
    worker: Rc<Worker>,
    (peer, identity): (SocketAddr, SpiffeId),
    incoming: Incoming,
) {
    worker.arrivals.count();
    let authority = incoming.request.authority.clone();
    let found = worker
        .state
        .wait_for(|view| destination::find(&worker.me, view, &authority))
        .await;
    let Some(Destination {
        addressed,
        local,
        protocol,
    }) = found
    else {
        let complete = worker.state.load().is_complete();
        let reason = if complete { "not-served" } else { "not-ready" };
        worker.series.refused(reason);
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
        certificate: client_identity::value(&identity, &worker.me.identity),
        worker,
        identity: Some(identity),
        client,
        addressed,
        local,
    });
    speak(downstream, StreamIo::new(stream), protocol).await;
}

async fn speak(downstream: Rc<Downstream>, mut io: HboneIo, protocol: Protocol) {
    let spoken = match protocol {
        Protocol::Tcp => Spoken::Bytes,
        // Silence says nothing on a port that is declared to be HTTP.
        Protocol::Http1 | Protocol::Http2 | Protocol::Grpc => {
            return opening::serve(downstream, io).await;
        }
        Protocol::Auto => match opening::hear(&mut io, (SILENCE, SILENCE)).await {
            Heard::Spoken(spoken) => spoken,
            Heard::Silence | Heard::Half => Spoken::Bytes,
            Heard::Ended => return server::shut(io).await,
        },
    };
    match spoken {
        Spoken::Http1 => server::http1(downstream, io).await,
        Spoken::Http2 => server::http2(downstream, io).await,
        Spoken::Bytes => tcp::serve(downstream, io).await,
    }
}
