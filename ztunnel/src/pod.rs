//! One pod this proxy serves: its name, its namespace, the roles of its sockets, its budgets.
//! Shared by capture, which knows which pods there are, and the workers, which serve them.

use ambit_net::Netns;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// A pod as the agent names it. Shared by all workers.
#[derive(Debug)]
pub struct Pod {
    /// Kubernetes `metadata.uid`.
    pub uid: Arc<str>,
    /// Who it is, by object name; the mesh knows the rest.
    pub identity: PodIdentity,
    /// Its network namespace.
    pub netns: Netns,
    /// How its connections reach us.
    pub capture: Capture,
    /// Mark of the sockets we dial with (`PACKET_MARK`): redirection by netfilter lets them through,
    /// and one that comes back to us is known by it.
    pub mark: u32,
    /// TLS handshakes going on now, on all workers.
    handshakes: AtomicUsize,
}

/// Object name of a pod (`istio.workload.zds.WorkloadInfo`).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PodIdentity {
    /// `metadata.name`.
    pub name: Arc<str>,
    /// `metadata.namespace`.
    pub namespace: Arc<str>,
    /// `spec.serviceAccountName`.
    pub service_account: Arc<str>,
}

/// How a pod's connections reach us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Capture {
    /// eBPF steers them to listeners of the agent: the local address is the original destination.
    Steered,
    /// Netfilter redirects them, as upstream's agent does: `SO_ORIGINAL_DST`.
    Redirected,
}

/// What arrives on a listener (`istio.workload.zds.SocketRole`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Connections of the pod's applications.
    Outbound,
    /// Plain connections to the pod.
    Inbound,
    /// HBONE tunnels to the pod.
    Hbone,
    /// DNS queries of the pod.
    DnsUdp,
    /// DNS queries of the pod over TCP.
    DnsTcp,
}

impl Role {
    /// All roles, in wire order.
    pub const ALL: [Self; 5] = [
        Self::Outbound,
        Self::Inbound,
        Self::Hbone,
        Self::DnsUdp,
        Self::DnsTcp,
    ];
}

/// The sockets of one worker for one pod.
pub type WorkerSockets = Vec<(Role, OwnedFd)>;

/// A handshake in progress; it counts against the pod's budget until dropped.
#[derive(Debug)]
pub struct HandshakePermit(Arc<Pod>);

/// TLS handshakes a pod's peers may have going on at once. One that lingers costs about 50 KB.
pub const MOST_HANDSHAKES: usize = 1024;

impl Pod {
    /// A pod without connections.
    pub fn new(
        uid: Arc<str>,
        identity: PodIdentity,
        netns: Netns,
        (capture, mark): (Capture, u32),
    ) -> Self {
        Self {
            uid,
            identity,
            netns,
            capture,
            mark,
            handshakes: AtomicUsize::new(0),
        }
    }

    /// Room for one more handshake; `None` when the budget is spent.
    pub fn handshake(self: &Arc<Self>) -> Option<HandshakePermit> {
        let before = self.handshakes.fetch_add(1, Relaxed);
        let permit = HandshakePermit(self.clone());
        (before < MOST_HANDSHAKES).then_some(permit)
    }
}

impl Drop for HandshakePermit {
    fn drop(&mut self) {
        self.0.handshakes.fetch_sub(1, Relaxed);
    }
}
