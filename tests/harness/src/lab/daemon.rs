//! The lab's long-running programs: agents, proxies, the controller.
//! In: a [`Spec`]. Out: start, SIGTERM, `kill -9`, restart, one at a time.
//! Owns: the process. Nothing starts a daemon again by itself: tests decide when it is away.

use std::path::PathBuf;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::sync::Mutex;

use crate::names::NodeNumber;
use crate::process::{Output, Process, SpawnError, Spawner, Spec};

/// Which program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DaemonKind {
    /// `ambit-controller`
    Controller,
    /// `ambit-agent` of a node
    Agent(NodeNumber),
    /// `ztunnel` of a node
    Ztunnel(NodeNumber),
}

impl DaemonKind {
    /// `controller`, `agent` or `ztunnel`.
    pub fn role(self) -> &'static str {
        match self {
            Self::Controller => "controller",
            Self::Agent(_) => "agent",
            Self::Ztunnel(_) => "ztunnel",
        }
    }

    /// Its node's number; the controller has none.
    pub fn node(self) -> Option<NodeNumber> {
        match self {
            Self::Controller => None,
            Self::Agent(node) | Self::Ztunnel(node) => Some(node),
        }
    }

    /// Unique name: `controller`, `agent-n1`, `ztunnel-n1`.
    pub fn name(self) -> String {
        match self.node() {
            None => self.role().to_owned(),
            Some(node) => format!("{}-{}", self.role(), node.short()),
        }
    }
}

/// One long-running program.
pub struct Daemon {
    /// Which
    pub kind: DaemonKind,
    /// How it is started
    pub spec: Spec,
    /// Its token, if it has one
    pub token: Option<PathBuf>,
    spawner: Spawner,
    process: Mutex<Option<Process>>,
}

impl Daemon {
    /// A daemon that does not run yet.
    pub fn new(kind: DaemonKind, spec: Spec, token: Option<PathBuf>, spawner: Spawner) -> Self {
        Self {
            kind,
            spec,
            token,
            spawner,
            process: Mutex::new(None),
        }
    }

    /// Its log.
    pub fn log(&self) -> PathBuf {
        match &self.spec.output {
            Output::Log(path) => path.clone(),
            Output::Piped | Output::Inherit => PathBuf::new(),
        }
    }

    /// Starts it; no effect while it runs.
    ///
    /// # Errors
    /// [`SpawnError`].
    pub async fn start(&self) -> Result<(), SpawnError> {
        let mut process = self.process.lock().await;
        if process.as_mut().is_none_or(|p| p.ended().is_some()) {
            *process = Some(self.spawner.spawn(self.spec.clone()).await?);
        }
        Ok(())
    }

    /// `kill -9`, and waits until it is gone.
    pub async fn kill(&self) {
        if let Some(mut process) = self.process.lock().await.take() {
            process.kill().await;
        }
    }

    /// SIGTERM; SIGKILL if it has not ended within `grace`. True if it ended by itself.
    pub async fn terminate(&self, grace: Duration) -> bool {
        let Some(mut process) = self.process.lock().await.take() else {
            return true;
        };
        process.signal(Signal::SIGTERM);
        let ended = tokio::time::timeout(grace, process.wait()).await.is_ok();
        process.kill().await;
        ended
    }

    /// Process id while it runs.
    pub async fn pid(&self) -> Option<i32> {
        let mut process = self.process.lock().await;
        let process = process.as_mut()?;
        if process.ended().is_none() {
            Some(process.pid())
        } else {
            None
        }
    }
}
