//! What agent and node proxy have to say to each other, apart from how it is sent.
//! In: nothing. Out: commands to a proxy, its answers, the set of connected proxies.
//! Owns nothing but, in `Sessions`, the sending ends. Must not happen here: bytes on a socket (`zds`).

mod sessions;

pub use sessions::{SendError, Sessions};

use std::os::fd::OwnedFd;
use std::sync::Arc;

use ambit_api::zds::AmbitSockets;
use ambit_net::Netns;

use crate::listeners::Listeners;

/// A connection of a proxy, newest highest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionId(pub u64);

/// The proxy that new pods are offered to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proxy {
    /// Its connection.
    pub session: SessionId,
    /// Its data-plane workers: one listener each per role.
    pub workers: u32,
}

/// What the reconcile task asks of one proxy, in order.
#[derive(Debug, Clone)]
pub enum Command {
    /// Take these listeners of the pod.
    Offer {
        /// The pod.
        pod: Subject,
        /// Its listeners.
        listeners: Arc<Listeners>,
    },
    /// Give back the listeners you hold of this pod.
    Ask {
        /// The pod.
        pod: Subject,
        /// From this worker on.
        first: u32,
    },
    /// The pod left.
    Delete(Arc<str>),
    /// Everything that was there when you connected has been named.
    SnapshotSent,
}

/// The pod a command is about.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Who it is.
    pub identity: Arc<PodIdentity>,
    /// Its namespace.
    pub netns: Arc<Netns>,
    /// Comes back with the answer: an older question's answer must not be taken for a newer one's.
    pub ticket: u64,
}

/// Who a pod is, as proxies must know it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PodIdentity {
    /// Pod uid.
    pub uid: Arc<str>,
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// Service account: the identity the proxy asks a certificate for.
    pub service_account: String,
}

/// A proxy's answer to an offer or a question.
#[derive(Debug)]
pub enum Answer {
    /// It accepts connections from what it was given.
    Accepted,
    /// It holds these listeners.
    Held {
        /// How they are ordered.
        sockets: AmbitSockets,
        /// The descriptors.
        fds: Vec<OwnedFd>,
    },
    /// It holds none.
    HoldsNone,
    /// It could not.
    Refused(String),
}
