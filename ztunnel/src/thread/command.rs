//! What the control runtime may ask of a worker.

use crate::flow::Direction;
use crate::pod::{Pod, WorkerSockets};
use crate::worker::Worker;
use ambit_model::ids::Generation;
use serde::Serialize;
use std::sync::Arc;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

/// One request.
#[derive(Debug)]
pub(super) enum Command {
    Serve {
        pod: Arc<Pod>,
        sockets: WorkerSockets,
        done: oneshot::Sender<Result<(), String>>,
    },
    Remove {
        uid: Arc<str>,
        done: oneshot::Sender<()>,
    },
    Held {
        uid: Arc<str>,
        reply: oneshot::Sender<WorkerSockets>,
    },
    Connections {
        reply: oneshot::Sender<Vec<ConnectionView>>,
    },
}

/// A live connection, as admin shows it.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ConnectionView {
    /// Pod it belongs to.
    pub pod: Arc<str>,
    /// `inbound` or `outbound`.
    pub direction: &'static str,
    /// Client address.
    pub src: String,
    /// Where the application wanted to go; inbound the service that was addressed, if known.
    pub original_dst: String,
    /// Where its bytes go.
    pub actual_dst: String,
    /// `HBONE` or `TCP`.
    pub protocol: &'static str,
    /// Snapshot it was decided by.
    pub generation: Generation,
    /// Worker that relays it.
    pub worker: usize,
    /// Bytes from client to server.
    pub received: u64,
    /// Bytes from server to client.
    pub sent: u64,
    /// Milliseconds since it was established.
    pub age_ms: u64,
}

/// Sends commands to one worker.
#[derive(Clone, Debug)]
pub struct WorkerHandle {
    commands: mpsc::Sender<Command>,
}

/// Why a worker did not do it.
#[derive(Debug, Error)]
pub enum Gone {
    /// Its thread has ended.
    #[error("a worker has ended")]
    Ended,
    /// It cannot use the sockets.
    #[error("{0}")]
    Sockets(String),
}

pub(super) fn channel() -> (WorkerHandle, mpsc::Receiver<Command>) {
    let (commands, receiver) = mpsc::channel(QUEUE);
    (WorkerHandle { commands }, receiver)
}

impl WorkerHandle {
    /// Serves a pod on these sockets. A pod already served keeps its connections and changes its
    /// listeners. When this returns the accept loops are armed.
    ///
    /// # Errors
    /// See [`Gone`].
    pub async fn serve(&self, pod: Arc<Pod>, sockets: WorkerSockets) -> Result<(), Gone> {
        let (done, result) = oneshot::channel();
        self.send(Command::Serve { pod, sockets, done }).await?;
        result
            .await
            .map_err(|_| Gone::Ended)?
            .map_err(Gone::Sockets)
    }

    /// Stops serving a pod and cuts its connections.
    pub async fn remove(&self, uid: &str) {
        let (done, result) = oneshot::channel();
        // A worker that has ended serves nothing.
        if self
            .send(Command::Remove {
                uid: uid.into(),
                done,
            })
            .await
            .is_ok()
        {
            let _ = result.await;
        }
    }

    /// Duplicates of the listeners held for a pod; empty if it is not served.
    pub async fn held(&self, uid: &str) -> WorkerSockets {
        let (reply, result) = oneshot::channel();
        match self
            .send(Command::Held {
                uid: uid.into(),
                reply,
            })
            .await
        {
            Ok(()) => result.await.unwrap_or_default(),
            Err(_) => WorkerSockets::new(),
        }
    }

    /// All live connections.
    pub async fn connections(&self) -> Vec<ConnectionView> {
        let (reply, result) = oneshot::channel();
        match self.send(Command::Connections { reply }).await {
            Ok(()) => result.await.unwrap_or_default(),
            Err(_) => Vec::new(),
        }
    }

    async fn send(&self, command: Command) -> Result<(), Gone> {
        self.commands.send(command).await.map_err(|_| Gone::Ended)
    }
}

impl Command {
    /// During a drain nothing new is served; whoever asked learns it by the dropped reply.
    pub(super) fn answer_draining(self, worker: &Worker) {
        match self {
            Self::Connections { reply } => {
                let _ = reply.send(connections(worker));
            }
            Self::Serve { done, .. } => {
                let _ = done.send(Err("the proxy drains".to_owned()));
            }
            Self::Remove { .. } | Self::Held { .. } => {}
        }
    }
}

pub(super) fn connections(worker: &Worker) -> Vec<ConnectionView> {
    let mut views = Vec::new();
    worker.registry.each(|flow, pod, generation| {
        let facts = &flow.facts;
        let (original, actual) = match facts.direction {
            Direction::Outbound => (facts.original.to_string(), facts.destination.to_string()),
            Direction::Inbound => {
                let target = facts
                    .hbone
                    .clone()
                    .unwrap_or_else(|| facts.destination.to_string());
                (facts.labels.service.hostname.to_string(), target)
            }
        };
        views.push(ConnectionView {
            pod: pod.uid.clone(),
            direction: facts.direction.as_str(),
            src: facts.source.to_string(),
            original_dst: original,
            actual_dst: actual,
            protocol: if facts.hbone.is_some() {
                "HBONE"
            } else {
                "TCP"
            },
            generation,
            worker: worker.index,
            received: flow.counters.from_client(),
            sent: flow.counters.from_server(),
            age_ms: u64::try_from(flow.started.elapsed().as_millis()).unwrap_or(u64::MAX),
        });
    });
    views
}

const QUEUE: usize = 64;
