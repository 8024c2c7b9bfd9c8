//! The accept loop of one plaintext listener on one worker.
//! In: its socket. Out: a task per connection, as long as there is a place for it.

use crate::downstream::{Addressed, Downstream};
use crate::http::opening;
use crate::places::Places;
use crate::stream_io::{PlainIo, StreamIo};
use crate::worker::Worker;
use ambit_model::address::NetworkAddress;
use ambit_net::relay::TcpEndpoint;
use ambit_runtime::tasks::TaskGroup;
use ambit_telemetry::labels::Peer;
use std::cell::RefCell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};

/// Pause after a failed accept: out of descriptors, another at once would spin.
const PAUSE: Duration = Duration::from_millis(50);

/// Accepts until it is aborted; connections outlive it.
pub(super) async fn run(
    worker: Rc<Worker>,
    listener: TcpListener,
    (connections, places): (Rc<RefCell<TaskGroup>>, Rc<Places>),
) {
    loop {
        let accepted = listener.accept().await;
        connections.borrow_mut().reap();
        let (tcp, client) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "accept on a plaintext listener failed");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        worker.arrivals.count();
        let client = canonical(client);
        let Some(place) = places.take(client.ip()) else {
            worker.series.refused("connection-limit");
            if places.is_news() {
                let error = "connection-limit";
                tracing::warn!(src.addr = %client, error, "plaintext connections refused");
            }
            continue;
        };
        let Ok(local) = tcp.local_addr().map(canonical) else {
            continue;
        };
        let serving = serve(worker.clone(), (client, local), tcp);
        let connection = async move {
            serving.await;
            drop(place);
        };
        connections
            .borrow_mut()
            .spawn_local("plaintext connection", connection);
    }
}

async fn serve(worker: Rc<Worker>, (client, local): (SocketAddr, SocketAddr), tcp: TcpStream) {
    // Without it small writes wait for acknowledgements; a socket that is gone needs none.
    let _ = tcp.set_nodelay(true);
    let downstream = Rc::new(Downstream {
        source: myself(&worker, local),
        worker,
        identity: None,
        certificate: None,
        client,
        addressed: Addressed::Listener,
        local,
    });
    let io: PlainIo = StreamIo::new(TcpEndpoint(tcp));
    opening::serve(downstream, io).await;
}

/// Labels of this gateway: those of its pod, else its name.
fn myself(worker: &Worker, local: SocketAddr) -> Peer {
    let view = worker.state.load();
    let address = NetworkAddress::new(worker.me.network.clone(), local.ip());
    match view.mesh.workload_at(&address) {
        Some(workload) => Peer::of(workload),
        None => Peer {
            workload: worker.me.identity.service_account().into(),
            namespace: worker.me.identity.namespace().into(),
            ..Peer::default()
        },
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
