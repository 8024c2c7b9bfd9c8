//! Our plugin on the node: the binary where the container runtime looks, our entry at the end of the chain.
//! In: the node's CNI directories. Out: both in place for as long as the agent runs, whoever writes there.
//! Owns the watch on those directories. Must not happen here: a removal by an agent that is only replaced.
//! Spec: CNI SPEC.md; the order in which containerd and CRI-O pick a configuration.

pub mod conflist;
pub mod files;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ambit_runtime::causes::causes;
use ambit_runtime::readiness::Gate;
use ambit_runtime::tasks;
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio::time::{sleep, timeout};

use files::{Files, FilesError, Report};

/// What our plugin is told, with paths as the node has them.
#[derive(Debug, Clone)]
pub struct PluginSettings {
    /// Socket of the agent.
    pub agent_socket: PathBuf,
    /// State file of the agent.
    pub state_file: PathBuf,
    /// Namespaces that are never in the mesh.
    pub exclude_namespaces: Vec<String>,
    /// Namespace of the mesh's own pods.
    pub system_namespace: String,
}

impl PluginSettings {
    /// Our plugin's object in the chain.
    pub fn object(&self) -> Value {
        let own = OWN_PODS.map(|name| format!("{}/{name}", self.system_namespace));
        json!({
            "type": conflist::PLUGIN,
            "agentSocket": self.agent_socket,
            "stateFile": self.state_file,
            "excludeNamespaces": self.exclude_namespaces,
            "ownPods": own,
        })
    }
}

/// Counts of the installer. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Counters {
    writes: Counter,
    failures: Counter,
}

impl Counters {
    /// Adds the series to a registry.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "ambit_cni_install_writes",
            "Files of the node's CNI directories written because they were missing or different",
            self.writes.clone(),
        );
        registry.register(
            "ambit_cni_install_failures",
            "Times our plugin could not be put in place",
            self.failures.clone(),
        );
    }
}

/// Keeps the plugin installed.
#[derive(Debug)]
pub struct Installer {
    files: Files,
    object: Value,
    counters: Counters,
    gate: Gate,
}

impl Installer {
    /// Opens `gate` once the plugin is in the chain.
    pub fn new(files: Files, settings: &PluginSettings, counters: Counters, gate: Gate) -> Self {
        Self {
            files,
            object: settings.object(),
            counters,
            gate,
        }
    }

    /// Runs until dropped, or until the directories this process sees are not the node's any more.
    pub async fn run(self) {
        let changed = Arc::new(Notify::new());
        let mut watcher = None;
        let mut last = Report::default();
        loop {
            if watcher.is_none() {
                watcher = self.watch(&changed);
            }
            match self.install().await {
                Ok(report) => {
                    self.tell(&report, &last);
                    last = report;
                }
                Err(error @ FilesError::Replaced { .. }) => {
                    tracing::error!(error = %causes(&error), "the agent must start again to see the node's directory");
                    return;
                }
                Err(error) => {
                    self.counters.failures.inc();
                    self.gate.close();
                    tracing::error!(error = %causes(&error), "cni plugin not in place");
                }
            }
            // Events can be lost, and a directory may appear later.
            let _ = timeout(LOOK_AGAIN, changed.notified()).await;
            // Others write in several steps, and two installers must not race without end.
            sleep(CALM).await;
        }
    }

    async fn install(&self) -> Result<Report, FilesError> {
        let (files, object) = (self.files.clone(), self.object.clone());
        let work = tasks::spawn_blocking("cni install", move || files.install(&object));
        match work.await {
            tasks::End::Returned(result) => result,
            // Panics are logged and counted where they happen.
            _ => Ok(Report::default()),
        }
    }

    fn watch(&self, changed: &Arc<Notify>) -> Option<RecommendedWatcher> {
        let noted = changed.clone();
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading a file is an event too, and we read them all.
            if !event.is_ok_and(|event| event.kind.is_access()) {
                noted.notify_one();
            }
        });
        let watching = watcher.and_then(|mut watcher| {
            for dir in [&self.files.conf_dir, &self.files.bin_dir] {
                watcher.watch(dir, RecursiveMode::NonRecursive)?;
            }
            Ok(watcher)
        });
        match watching {
            Ok(watcher) => Some(watcher),
            Err(error) => {
                tracing::debug!(%error, "cni directories are looked at from time to time only");
                None
            }
        }
    }

    fn tell(&self, report: &Report, last: &Report) {
        for path in &report.changed {
            self.counters.writes.inc();
            tracing::info!(path = %path.display(), "cni file put in place");
        }
        if report.skipped != last.skipped {
            for (path, reason) in &report.skipped {
                tracing::warn!(path = %path.display(), reason, "no usable network configuration");
            }
        }
        match &report.conf {
            Some(_) => self.gate.open(),
            None => {
                self.gate.close();
                if last.conf.is_some() || !report.changed.is_empty() {
                    tracing::warn!(dir = %self.files.conf_dir.display(), "no network configuration to join yet");
                }
            }
        }
    }
}

/// Names of pods that must start before the agent can answer, in the system namespace.
const OWN_PODS: [&str; 5] = [
    "ambit-cni-node-*",
    "istio-cni-node-*",
    "ztunnel-*",
    "ambit-controller-*",
    "istiod-*",
];
const LOOK_AGAIN: Duration = Duration::from_secs(10);
const CALM: Duration = Duration::from_millis(200);
