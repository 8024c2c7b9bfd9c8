//! Everything that can happen to the reconcile task, the only one that changes pods.
//! In: source, CNI server, ZDS sessions, namespaces. Out: one bounded channel of [`Event`].
//! Owns nothing. Must not happen here: a change made by anybody but the receiver.

use std::collections::BTreeMap;
use std::sync::Arc;

use ambit_cni::wire::{Refusal, Request};
use ambit_net::netlink::Change;
use tokio::sync::{mpsc, oneshot};

use crate::intent::PodFacts;
use crate::proxy::{Answer, Command, SessionId};

/// Events that may wait before senders do.
pub const QUEUE: usize = 1024;

/// One thing that happened.
#[derive(Debug)]
pub enum Event {
    /// Objects of the source changed.
    Facts(Facts),
    /// Whether no proxy is wanted on this node, so that all pods stay outside.
    Outside(bool),
    /// The CNI plugin asks.
    Cni(CniCall),
    /// A proxy said hello.
    ProxyConnected {
        /// Its connection.
        session: SessionId,
        /// Its data-plane workers; `None` if it speaks plain ZDS and takes no listeners.
        workers: Option<u32>,
        /// To it.
        commands: mpsc::Sender<Command>,
    },
    /// A proxy answered about a pod.
    ProxyAnswered {
        /// Its connection.
        session: SessionId,
        /// The pod.
        uid: Arc<str>,
        /// Which question.
        ticket: u64,
        /// What it said.
        answer: Answer,
    },
    /// A proxy's connection ended.
    ProxyGone {
        /// Which.
        session: SessionId,
        /// Why.
        reason: String,
        /// In a word, unless the proxy just went: a label of `ambit_zds_sessions_failed_total`.
        failure: Option<&'static str>,
    },
    /// An address or interface of a pod changed; `None` means changes were lost and all must be read again.
    Network {
        /// The pod's slot number.
        slot: u32,
        /// Cookie of its namespace, in case the slot has a new pod.
        cookie: u64,
        /// What changed.
        change: Option<Change>,
    },
}

/// What the source says now. Objects that are not named have not changed.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The first answer: everything there is, so that what is missing is gone.
    pub complete: bool,
    /// Pods by namespace and name; `None` for deleted ones.
    pub pods: Vec<((String, String), Option<PodFacts>)>,
    /// Labels of namespaces by name; `None` for deleted ones.
    pub namespaces: Vec<(String, Option<BTreeMap<String, String>>)>,
}

/// One request of the CNI plugin.
#[derive(Debug)]
pub struct CniCall {
    /// Which command.
    pub command: CniCommand,
    /// The pod.
    pub request: Request,
    /// Where the answer goes.
    pub reply: oneshot::Sender<Result<(), Refusal>>,
}

/// Commands of the CNI plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CniCommand {
    /// A pod starts.
    Add,
    /// A sandbox goes.
    Del,
    /// Is the pod as ADD left it?
    Check,
}
