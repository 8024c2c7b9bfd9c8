//! Plain connections to a pod, from outside the mesh.
//! In: captured connections. Out: the application, under the pod's policies, with no identity.

use super::admitted::Admitted;
use super::labels;
use crate::accept::Accepted;
use crate::flow::{self, Direction, Facts};
use crate::gather;
use crate::outcome::Failure;
use crate::pod::Pod;
use crate::sockets::{captured_for, reset};
use crate::worker::Worker;
use ambit_net::relay::TcpEndpoint;
use ambit_routing::connection::inbound::{Arrival, ArrivedConn, decide};
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
            let client = TcpEndpoint(stream);
            admitted
                .relay(client, (&worker, pod), (facts, started))
                .await;
        }
        Err(failure) => {
            flow::refused(&worker.books, &facts, started, &failure);
            reset(&stream);
        }
    }
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
    let network = own.workload.network.clone();
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
    Admitted::by(decided, (worker, pod), arrived, &own.snapshot).await
}
