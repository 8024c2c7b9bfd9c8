//! Keeping the lab file true.
//! In: daemons and pods as they start and end. Out: [`LabFile`], written when it differs.
//! Owns: the one task that writes the file.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ambit_api::ports;
use tokio::sync::watch;
use tracing::warn;

use super::builder::own_pid;
use super::daemon::{Daemon, DaemonKind};
use super::file::{LabFile, PodLine, ProcessLine};
use super::mesh::{Layout, WAYPOINT_IMAGE};
use super::observe::local;
use super::{Lab, LabError};
use crate::cluster::{Cluster, Key};
use crate::kubelet::status::PodEntry;
use crate::names::{CLUSTER_DOMAIN, NodeNumber};

impl Lab {
    /// Starts the task that keeps the lab file true.
    pub(super) async fn describe(&mut self, layout: Layout) -> Result<(), LabError> {
        let describer = Describer {
            layout,
            daemons: self.daemons.clone(),
            pods: self.pods.subscribe(),
            cluster: self.cluster.clone(),
        };
        let path = self.name.lab_file();
        describer
            .write()
            .await
            .map_err(|source| LabError::Io { path, source })?;
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            stop.run_until_cancelled(describer.keep()).await;
        });
        Ok(())
    }
}

/// Writes the lab file.
struct Describer {
    layout: Layout,
    daemons: Vec<Arc<Daemon>>,
    pods: watch::Receiver<BTreeMap<Key, PodEntry>>,
    cluster: watch::Receiver<Arc<Cluster>>,
}

impl Describer {
    /// Daemons have no event for a start or end: the file follows them within this.
    const EVERY: Duration = Duration::from_millis(500);

    async fn keep(mut self) {
        loop {
            let _ = tokio::time::timeout(Self::EVERY, self.pods.changed()).await;
            if let Err(error) = self.write().await {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "lab file not written"
                );
            }
        }
    }

    async fn write(&self) -> std::io::Result<()> {
        let lab = &self.layout.lab;
        let mut processes = Vec::new();
        for daemon in &self.daemons {
            processes.push(self.daemon_line(daemon).await);
        }
        let (cluster, pods) = (self.cluster.borrow().clone(), self.pods.borrow().clone());
        processes.extend(
            pods.iter()
                .filter_map(|(key, pod)| self.waypoint_line(&cluster, key, pod)),
        );
        let file = LabFile {
            name: lab.to_string(),
            pid: own_pid(),
            source_dir: self.layout.directory.clone(),
            run_dir: lab.run_dir(),
            root_cert: self.layout.root_cert(),
            cluster_domain: CLUSTER_DOMAIN.to_owned(),
            processes,
            pods: pods.iter().map(|(key, pod)| pod_line(key, pod)).collect(),
        };
        if LabFile::read(lab).ok().as_ref() == Some(&file) {
            Ok(())
        } else {
            file.write(lab)
        }
    }

    async fn daemon_line(&self, daemon: &Daemon) -> ProcessLine {
        let (admin, metrics, ready) = match daemon.kind {
            DaemonKind::Controller => {
                let http = Some(self.layout.families.controller_http());
                (http, http, http)
            }
            DaemonKind::Agent(_) => (
                None,
                Some(local(ports::CONTROL_METRICS)),
                Some(local(ports::AGENT_READINESS)),
            ),
            DaemonKind::Ztunnel(_) => (
                Some(local(ports::ADMIN)),
                Some(local(ports::METRICS)),
                Some(local(ports::READINESS)),
            ),
        };
        let node = daemon.kind.node();
        let lab = &self.layout.lab;
        ProcessLine {
            role: daemon.kind.role().to_owned(),
            name: daemon.kind.name(),
            node: node.map(NodeNumber::name),
            pid: daemon.pid().await,
            netns: node
                .map_or_else(|| lab.core(), |node| lab.netns(&node.short()))
                .path(),
            admin,
            metrics,
            ready,
            token_file: daemon.token.clone(),
            log: daemon.log(),
        }
    }

    fn waypoint_line(&self, cluster: &Cluster, key: &Key, pod: &PodEntry) -> Option<ProcessLine> {
        let spec = cluster.pods.get(key)?.spec.as_ref()?;
        let container = spec.containers.iter().find(|c| {
            c.image
                .as_deref()
                .is_some_and(|i| i.split(':').next() == Some(WAYPOINT_IMAGE))
        })?;
        Some(ProcessLine {
            role: "waypoint".to_owned(),
            name: format!("{}/{}", key.0, key.1),
            node: Some(pod.node.clone()),
            pid: pod.state.pids.first().copied(),
            netns: pod.place.netns.clone()?,
            admin: Some(local(ports::ADMIN)),
            metrics: Some(local(ports::METRICS)),
            ready: Some(local(ports::READINESS)),
            token_file: Some(pod.token.clone()),
            log: self
                .layout
                .logs()
                .join(format!("{}_{}_{}.log", key.0, key.1, container.name)),
        })
    }
}

fn pod_line(key: &Key, pod: &PodEntry) -> PodLine {
    PodLine {
        namespace: key.0.clone(),
        name: key.1.clone(),
        node: pod.node.clone(),
        address: pod.state.addresses.first().copied(),
        addresses: pod.state.addresses.clone(),
        ready: pod.state.ready,
        message: pod.state.message.clone(),
        netns: pod.place.netns.clone(),
        cgroup: pod.place.cgroup.clone(),
        resolv: pod.place.resolv.clone(),
        token_file: pod.token.clone(),
    }
}
