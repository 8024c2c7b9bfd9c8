//! Watching a lab: readiness, pods, metrics, logs, the link between nodes.
//! In: questions. Out: answers, or what was seen last when the deadline passed.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ambit_api::ports;
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::watch;
use tracing::warn;

use super::daemon::{Daemon, DaemonKind};
use super::{Lab, LabError};
use crate::cluster::{Cluster, Key, PodView};
use crate::families::Families;
use crate::fetch::{self, HttpError};
use crate::kubelet::status::PodEntry;
use crate::names::{NetnsName, NodeNumber};
use crate::process::Spec;
use crate::prometheus::Scrape;
use crate::wait::{NotYet, until};
use crate::wire::Capture;
use crate::{feed, netns, service_nat, tool};

/// How long a daemon may take to become ready.
const READY: Duration = Duration::from_secs(30);

impl Lab {
    /// A daemon of this lab.
    pub fn daemon(&self, kind: DaemonKind) -> Option<&Arc<Daemon>> {
        self.daemons.iter().find(|daemon| daemon.kind == kind)
    }

    /// All daemons.
    pub fn daemons(&self) -> &[Arc<Daemon>] {
        &self.daemons
    }

    /// Every pod that a kubelet has taken up.
    pub fn pods(&self) -> BTreeMap<Key, PodEntry> {
        self.pods.borrow().clone()
    }

    /// The pods, as a channel to wait on.
    pub fn watch_pods(&self) -> watch::Receiver<BTreeMap<Key, PodEntry>> {
        self.pods.subscribe()
    }

    /// Waits until every pod of the directory that is bound to a node of the lab is ready, and the Services of
    /// every node lead to them.
    ///
    /// # Errors
    /// [`NotYet`] with the pods that are not, and why.
    pub async fn pods_ready(&self, limit: Duration) -> Result<(), NotYet> {
        // What was applied just now may not have been noticed yet.
        let wanted = until("the directory is read", limit, || async {
            let read = feed::read(&self.directory).await;
            read.map_err(|error| error.to_string())
        })
        .await?;
        until("all pods ready", limit, || async {
            let (cluster, pods) = (self.cluster(), self.pods());
            let here = |pod: &Pod| {
                let node = PodView(pod).node();
                self.nodes.iter().any(|n| node == Some(&n.name))
            };
            let unnoticed = wanted.pods.iter().filter(|(key, pod)| {
                here(pod)
                    && cluster
                        .pods
                        .get(*key)
                        .is_none_or(|known| known.spec != pod.spec)
            });
            let mut waiting: Vec<String> = unnoticed
                .map(|(key, _)| format!("{}/{}: not noticed", key.0, key.1))
                .collect();
            let known = cluster.pods.iter().filter(|(_, pod)| here(pod));
            waiting.extend(known.filter_map(|(key, _)| self.why_not_ready(key, pods.get(key))));
            if waiting.is_empty() && !pods.is_empty() {
                Ok(())
            } else {
                Err(waiting)
            }
        })
        .await
    }

    fn why_not_ready(&self, key: &Key, entry: Option<&PodEntry>) -> Option<String> {
        let why = match entry {
            None => "not started",
            Some(entry) if !entry.state.ready => entry.state.message.as_str(),
            Some(_) => {
                let known = |services: &watch::Receiver<Arc<Cluster>>| {
                    services
                        .borrow()
                        .pods
                        .get(key)
                        .is_some_and(|pod| PodView(pod).ready())
                };
                if self.services.iter().all(known) {
                    return None;
                }
                "Services do not lead to it yet"
            }
        };
        Some(format!("{}/{}: {why}", key.0, key.1))
    }

    /// A pod's IPv4 address, once it has one.
    pub fn pod_address(&self, namespace: &str, pod: &str) -> Option<Ipv4Addr> {
        let addresses = self.pod_addresses(namespace, pod).into_iter();
        let mut v4 = addresses.filter_map(|ip| match ip {
            IpAddr::V4(ip) => Some(ip),
            IpAddr::V6(_) => None,
        });
        v4.next()
    }

    /// All addresses of a pod, the primary one first; none before it has any.
    pub fn pod_addresses(&self, namespace: &str, pod: &str) -> Vec<IpAddr> {
        self.pods
            .borrow()
            .get(&(namespace.to_owned(), pod.to_owned()))
            .map(|entry| entry.state.addresses.clone())
            .unwrap_or_default()
    }

    /// Starts counting what crosses the link between nodes.
    ///
    /// # Errors
    /// The kernel's.
    pub fn capture(&self, marker: &str) -> std::io::Result<Capture> {
        let ports: Vec<String> = self.nodes.iter().map(|node| node.number.short()).collect();
        Capture::start(&self.name.core().path(), &ports, marker)
    }

    /// GETs a page from inside a node's namespace.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn page(&self, node: NodeNumber, port: u16, path: &str) -> Result<String, HttpError> {
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let answer = fetch::get(&self.name.netns(&node.short()).path(), to, path).await?;
        Ok(String::from_utf8_lossy(answer.body()).into_owned())
    }

    /// A page of the controller's HTTP port.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn controller_page(&self, path: &str) -> Result<String, HttpError> {
        let answer = fetch::get(
            &self.name.core().path(),
            self.families.controller_http(),
            path,
        )
        .await?;
        Ok(String::from_utf8_lossy(answer.body()).into_owned())
    }

    /// Metrics of a node's proxy.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn ztunnel_metrics(&self, node: NodeNumber) -> Result<Scrape, HttpError> {
        Ok(Scrape::parse(
            &self.page(node, ports::METRICS, "/metrics").await?,
        ))
    }

    /// Metrics of a node's agent.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn agent_metrics(&self, node: NodeNumber) -> Result<Scrape, HttpError> {
        Ok(Scrape::parse(
            &self.page(node, ports::CONTROL_METRICS, "/metrics").await?,
        ))
    }

    /// A page from inside a pod's own namespace, for example a waypoint's metrics. Not captured.
    ///
    /// # Errors
    /// [`HttpError`].
    pub async fn pod_page(
        &self,
        pod: &PodEntry,
        port: u16,
        path: &str,
    ) -> Result<String, HttpError> {
        let netns = pod.place.netns.clone().unwrap_or_default();
        let answer =
            fetch::get(&netns, SocketAddr::from((Ipv4Addr::LOCALHOST, port)), path).await?;
        Ok(String::from_utf8_lossy(answer.body()).into_owned())
    }

    /// What a daemon has logged so far.
    pub fn log(&self, kind: DaemonKind) -> String {
        let log = self.daemon(kind).map(|daemon| daemon.log());
        log.and_then(|path| std::fs::read(path).ok())
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }

    pub(super) async fn add_daemon(
        &mut self,
        kind: DaemonKind,
        spec: Spec,
        token: Option<PathBuf>,
    ) -> Result<(), LabError> {
        let daemon = Arc::new(Daemon::new(kind, spec, token, self.spawner.clone()));
        daemon.start().await.map_err(|source| LabError::Spawn {
            what: kind.name(),
            source,
        })?;
        self.daemons.push(daemon);
        Ok(())
    }

    pub(super) async fn controller_ready(&self, root: &Path) -> Result<(), LabError> {
        let Some(daemon) = self.daemon(DaemonKind::Controller).cloned() else {
            return Ok(());
        };
        let core = self.name.core().path();
        let ready = until("xDS port and root certificate", READY, || async {
            alive(&daemon).await?;
            if !root.exists() {
                return Err(format!("{} is not there", root.display()));
            }
            netns::connect(&core, self.families.xds_address(), READY)
                .await
                .map_err(|error| error.to_string())
        });
        ready
            .await
            .map(drop)
            .map_err(|source| not_ready(&daemon, source))
    }

    /// Waits until a daemon says that it is ready.
    ///
    /// # Errors
    /// [`LabError::NotReady`] with the end of its log.
    pub async fn daemon_ready(&self, daemon: &Arc<Daemon>) -> Result<(), LabError> {
        let netns = self.daemon_netns(daemon.kind).path();
        let (to, path) = match daemon.kind {
            DaemonKind::Controller => (self.families.controller_http(), "/ready"),
            DaemonKind::Agent(_) => (local(ports::AGENT_READINESS), "/readyz"),
            DaemonKind::Ztunnel(_) => (local(ports::READINESS), "/healthz/ready"),
        };
        let ready = until("readiness", READY, || async {
            alive(daemon).await?;
            let answer = fetch::get(&netns, to, path)
                .await
                .map_err(|error| format!("{error:?}"))?;
            let body = String::from_utf8_lossy(answer.body()).into_owned();
            if answer.status().is_success() {
                Ok(())
            } else {
                Err(format!("{} {body}", answer.status()))
            }
        });
        ready.await.map_err(|source| not_ready(daemon, source))
    }

    fn daemon_netns(&self, kind: DaemonKind) -> NetnsName {
        kind.node()
            .map_or_else(|| self.name.core(), |node| self.name.netns(&node.short()))
    }
}

/// Keeps a node's Service rules as the cluster is, until dropped. `applied` has what they were made from.
pub(super) async fn keep_services(
    (netns, families): (NetnsName, Families),
    mut cluster: watch::Receiver<Arc<Cluster>>,
    applied: watch::Sender<Arc<Cluster>>,
) {
    let mut last = String::new();
    loop {
        let now = cluster.borrow_and_update().clone();
        let script = service_nat::script(&now, families);
        if script != last {
            let (at, text) = (netns.clone(), script.clone());
            match tokio::task::spawn_blocking(move || tool::nft(&at, &text)).await {
                Ok(Ok(())) => last = script.clone(),
                Ok(Err(error)) => {
                    warn!(
                        error = &error as &dyn std::error::Error,
                        "services not applied"
                    );
                }
                Err(_) => return,
            }
        }
        if script == last {
            applied.send_replace(now);
        }
        if cluster.changed().await.is_err() {
            return;
        }
    }
}

pub(super) fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

async fn alive(daemon: &Daemon) -> Result<(), String> {
    daemon
        .pid()
        .await
        .map(drop)
        .ok_or_else(|| "it has ended".to_owned())
}

fn not_ready(daemon: &Daemon, source: NotYet) -> LabError {
    let log = daemon.log();
    let text = std::fs::read(&log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let tail = lines[lines.len().saturating_sub(15)..].join("\n");
    LabError::NotReady {
        what: daemon.kind.name(),
        log,
        tail,
        source: Box::new(source),
    }
}
