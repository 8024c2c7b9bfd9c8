//! Plain connections to a pod, from outside the mesh.
//! In: captured connections. Out: the application, under the pod's policies, with no identity.

use super::{app, labels};
use crate::accept::Accepted;
use crate::flow::{self, Direction, Facts, Flow};
use crate::gather;
use crate::outcome::Failure;
use crate::pod::Pod;
use crate::relayed;
use crate::sockets::{captured_for, reset};
use crate::worker::Worker;
use ambit_model::ids::{Generation, NetworkId};
use ambit_net::relay::TcpEndpoint;
use ambit_routing::connection::inbound::{Arrival, ArrivedConn, InboundDecision, decide};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;
use tokio::net::TcpStream;

/// Serves one connection to its end.
pub async fn serve(worker: Rc<Worker>, pod: Arc<Pod>, accepted: Accepted) {
    let started = Instant::now();
    let Accepted { stream, peer } = accepted;
    let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
    let mut facts = Facts::bare(Direction::Inbound, peer, unknown);
    match Box::pin(admit(&worker, &pod, &stream, &mut facts)).await {
        Ok(admitted) => {
            let flow = Flow::open(&worker.books, facts, started);
            let arrived = Some(admitted.arrived);
            let place = worker.enter(flow.clone(), pod, arrived, admitted.generation);
            let (near, far) = (TcpEndpoint(stream), TcpEndpoint(admitted.app));
            let end = relayed::run(near, far, &flow, place).await;
            flow.close(&worker.books, end);
        }
        Err(failure) => {
            flow::refused(&worker.books, &facts, started, &failure);
            reset(&stream);
        }
    }
}

struct Admitted {
    app: TcpStream,
    arrived: ArrivedConn,
    generation: Generation,
}

async fn admit(
    worker: &Worker,
    pod: &Arc<Pod>,
    stream: &TcpStream,
    facts: &mut Facts,
) -> Result<Admitted, Failure> {
    let local = captured_for(pod, stream)?;
    facts.original = local;
    facts.destination = local;
    let own = gather::own_workload(&worker.shared.state, pod).await?;
    let network = NetworkId::from(worker.shared.config.node.network.as_str());
    labels::destination(facts, &own.workload);
    labels::source(facts, &own.snapshot, &network, None);
    labels::service(facts, &own.snapshot, &own.workload, (None, local.port()));
    let arrived = ArrivedConn {
        destination: own.workload.clone(),
        source: facts.source,
        local,
        arrival: Arrival::Plaintext,
    };
    let decided = decide(&own.snapshot, &arrived);
    let connect = match decided.decision {
        InboundDecision::Connect(connect) => connect,
        InboundDecision::Refuse(refusal) => {
            tracing::debug!(src.addr = %facts.source, trace = %decided.trace, "refused");
            return Err(Failure::Refused(refusal));
        }
    };
    let client = app::Client {
        address: facts.source,
        identity: None,
    };
    let app = app::dial(pod, &connect, client, worker.shared.config.keepalive).await?;
    Ok(Admitted {
        app,
        arrived,
        generation: own.snapshot.generation(),
    })
}
