//! HBONE streams to peers, on the worker's pool.
//! In: who talks to whom, for whom. Out: an open CONNECT stream and the identity TLS proved.
//! Tunnels are dialled from the pod's own namespace and address. Owns: the pool of this worker.

use crate::baggage;
use crate::config::Config;
use crate::outcome::Failure;
use crate::pod::Pod;
use crate::sockets::DIAL_DEADLINE;
use ambit_hbone::io::{Opened, Pool, TunnelKey};
use ambit_hbone::wire::{ConnectRequest, Forwarded, Traceparent};
use ambit_identity::Svid;
use ambit_model::ids::SpiffeId;
use ambit_model::workload::Workload;
use ambit_net::socket::{DialError, DialSpec, Keepalive};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;

pub use ambit_hbone::io::Stream;

/// The tunnels of one worker.
#[derive(Debug)]
pub struct Tunnels {
    pool: Pool,
    keepalive: Option<Keepalive>,
}

/// One stream to open.
#[derive(Clone, Copy, Debug)]
pub struct StreamRequest<'a> {
    /// The pod's own workload.
    pub own: &'a Workload,
    /// The pod.
    pub pod: &'a Arc<Pod>,
    /// Peer to dial.
    pub peer: SocketAddr,
    /// Identities the peer may have.
    pub expected: &'a [SpiffeId],
    /// `:authority`.
    pub authority: &'a str,
    /// The application's socket.
    pub client: SocketAddr,
    /// Hostname of the service it addressed.
    pub service: Option<&'a str>,
}

impl Tunnels {
    /// No tunnels yet; must be made inside the worker's `LocalSet`.
    pub fn new(config: &Config) -> Self {
        Self {
            pool: Pool::new(config.tunnel.clone()),
            keepalive: config.keepalive,
        }
    }

    /// Lets go all tunnels and waits until the peers have everything; their streams must have ended.
    pub async fn close(&self) {
        self.pool.close().await;
    }

    /// Opens a stream, on a tunnel that is there or on a new one.
    ///
    /// # Errors
    /// No tunnel, or a refusal by the peer.
    pub async fn open(
        &self,
        svid: &Arc<Svid>,
        request: StreamRequest<'_>,
    ) -> Result<Opened, Failure> {
        let mut expected = request.expected.to_vec();
        expected.sort_unstable();
        let key = TunnelKey {
            source: request.own.identity.clone(),
            expected: expected.into(),
            to: request.peer,
            from: place(request.pod),
        };
        let connect = connect_request(request)?;
        let keepalive = self.keepalive;
        let dial = || dial_from(request.pod.clone(), request.peer, keepalive);
        self.pool
            .open(&key, svid, dial, &connect)
            .await
            .map_err(Failure::from)
    }

    /// Lets go the tunnels of a pod that is no longer served.
    pub fn forget(&self, pod: &Pod) {
        self.pool.forget(place(pod));
    }
}

async fn dial_from(
    pod: Arc<Pod>,
    peer: SocketAddr,
    keepalive: Option<Keepalive>,
) -> Result<TcpStream, DialError> {
    let mut spec = DialSpec::new(peer, DIAL_DEADLINE).within(&pod.netns);
    spec.keepalive = keepalive;
    spec.mark = Some(pod.mark);
    spec.dial().await
}

fn connect_request(request: StreamRequest<'_>) -> Result<ConnectRequest, Failure> {
    let authority = request.authority.parse().map_err(Failure::Authority)?;
    Ok(ConnectRequest {
        baggage: baggage::of(request.own).to_header(),
        forwarded: Some(Forwarded {
            client: request.client,
            host: request.service.map(Into::into),
        }),
        traceparent: Some(Traceparent {
            trace: rand::random::<u128>().max(1),
            parent: rand::random::<u64>().max(1),
            flags: 0,
        }),
        ..ConnectRequest::new(authority)
    })
}

/// Tells pods apart in the pool: the inode of the namespace, unique while it is open.
fn place(pod: &Pod) -> u64 {
    pod.netns.inode().ino
}
