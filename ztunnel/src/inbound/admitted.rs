//! A connection that policy has decided on.
//! In: the decision. Out: the application at the other end, and the relay with it; or why not.

use super::app;
use super::proxy_header::Told;
use crate::flow::{Facts, Flow};
use crate::outcome::Failure;
use crate::pod::Pod;
use crate::relayed;
use crate::worker::Worker;
use ambit_model::Snapshot;
use ambit_model::address::NetworkAddress;
use ambit_model::ids::Generation;
use ambit_net::relay::{Endpoint, TcpEndpoint};
use ambit_routing::connection::inbound::{
    Arrival, ArrivedConn, Authority, Connect, Decided, InboundDecision,
};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;
use tokio::net::TcpStream;

/// One that may enter; its application is connected.
pub(super) struct Admitted {
    app: TcpStream,
    pub(super) arrived: ArrivedConn,
    generation: Generation,
}

impl Admitted {
    /// Does what was decided by `snapshot`.
    ///
    /// # Errors
    /// [`Failure::Refused`], [`Failure::App`].
    pub(super) async fn by(
        decided: Decided,
        (worker, pod): (&Worker, &Arc<Pod>),
        arrived: ArrivedConn,
        snapshot: &Snapshot,
    ) -> Result<Self, Failure> {
        let connect = match decided.decision {
            InboundDecision::Connect(connect) => connect,
            InboundDecision::Refuse(refusal) => {
                tracing::debug!(src.addr = %arrived.source, trace = %decided.trace, "refused");
                return Err(Failure::Refused(refusal));
            }
        };
        let told = told(snapshot, &arrived, &connect);
        let app = app::dial(pod, &connect, &told, worker.shared.config.keepalive).await?;
        Ok(Self {
            app,
            arrived,
            generation: snapshot.generation(),
        })
    }

    /// Relays between the client and the application until both have ended.
    pub(super) async fn relay(
        self,
        client: impl Endpoint,
        (worker, pod): (&Worker, Arc<Pod>),
        (facts, started): (Facts, Instant),
    ) {
        let flow = Flow::open(&worker.books, facts, started);
        let place = worker.enter(flow.clone(), pod, Some(self.arrived), self.generation);
        let end = relayed::run(client, TcpEndpoint(self.app), &flow, place).await;
        flow.close(&worker.books, end);
    }
}

/// What an application may hear of a connection: what the client asked for, not where it is dialled.
fn told<'a>(snapshot: &'a Snapshot, arrived: &'a ArrivedConn, connect: &'a Connect) -> Told<'a> {
    let us = &arrived.destination;
    let mut told = Told {
        client: arrived.source,
        identity: None,
        asked: connect.to,
        service: None,
    };
    let Arrival::Hbone {
        identity,
        authority,
    } = &arrived.arrival
    else {
        return told;
    };
    told.identity = Some(identity);
    match authority {
        Authority::Address(asked) => {
            let ip = asked.ip().to_canonical();
            let address = NetworkAddress::new(us.network.clone(), ip);
            let service = snapshot.service_at(&address, &us.namespace);
            told.asked = SocketAddr::new(ip, asked.port());
            told.service = service.map(|service| &*service.key.hostname);
        }
        Authority::Name { hostname, port } => {
            let service = connect.service.as_ref();
            let address = service.and_then(|service| service.addresses.first());
            told.asked = address.map_or(connect.to, |a| SocketAddr::new(a.block.addr(), *port));
            told.service = Some(hostname);
        }
    }
    told
}
