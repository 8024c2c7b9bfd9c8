//! A connection that policy has decided on.
//! In: the decision. Out: the application at the other end, and the relay with it; or why not.

use super::app;
use crate::flow::{Facts, Flow};
use crate::outcome::Failure;
use crate::pod::Pod;
use crate::relayed;
use crate::worker::Worker;
use ambit_model::ids::Generation;
use ambit_net::relay::{Endpoint, TcpEndpoint};
use ambit_routing::connection::inbound::{Arrival, ArrivedConn, Decided, InboundDecision};
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
    /// Does what was decided, with `generation` of what is known.
    ///
    /// # Errors
    /// [`Failure::Refused`], [`Failure::App`].
    pub(super) async fn by(
        decided: Decided,
        (worker, pod): (&Worker, &Arc<Pod>),
        arrived: ArrivedConn,
        generation: Generation,
    ) -> Result<Self, Failure> {
        let connect = match decided.decision {
            InboundDecision::Connect(connect) => connect,
            InboundDecision::Refuse(refusal) => {
                tracing::debug!(src.addr = %arrived.source, trace = %decided.trace, "refused");
                return Err(Failure::Refused(refusal));
            }
        };
        let client = app::Client {
            address: arrived.source,
            identity: match &arrived.arrival {
                Arrival::Hbone { identity, .. } => Some(identity),
                Arrival::Plaintext => None,
            },
        };
        let app = app::dial(pod, &connect, client, worker.shared.config.keepalive).await?;
        Ok(Self {
            app,
            arrived,
            generation,
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
