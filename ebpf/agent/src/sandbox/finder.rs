//! Pods that run already and no CNI ADD announced: those of before the agent, or before its plugin.
//! In: pods that should be in the mesh, and what the reconcile task has. Out: an ADD for each, as the plugin
//! would have sent it. Owns its retries. Must not happen here: a namespace that lacks the pod's address.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ambit_cni::wire::Request;
use ambit_net::Netns;
use ambit_net::netlink::{Netlink, NetlinkError};
use ambit_net::netns::{NsInode, OpenNetnsError};
use ambit_runtime::causes::causes;
use ambit_runtime::tasks::{self, End};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout};

use super::pod_cgroup::CgroupUid;
use super::processes::{self, Process};
use crate::events::{CniCall, CniCommand, Event};
use crate::intent::PodFacts;
use crate::roster::Roster;
use crate::view::View;

/// Finds the namespaces of running pods.
#[derive(Debug)]
pub struct Finder {
    /// What the source told.
    pub roster: Roster,
    /// What the reconcile task has.
    pub view: watch::Receiver<Arc<View>>,
    /// To it.
    pub events: mpsc::Sender<Event>,
    /// The host's proc.
    pub proc: PathBuf,
    /// Where container runtimes keep namespaces by name.
    pub netns_dir: PathBuf,
    /// `SO_NETNS_COOKIE` of the node's own namespace.
    pub node_cookie: u64,
    /// Namespaces that are never in the mesh.
    pub excluded: Vec<String>,
}

/// A pod's namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// A path that lasts as long as the sandbox where there is one, else that of the oldest process.
    pub netns: PathBuf,
    /// The sandbox, as the container runtime names it; empty if its cgroup does not tell.
    pub container_id: String,
}

/// Why a process does not lead to the pod's namespace.
#[derive(Debug, thiserror::Error)]
pub enum NotIt {
    /// Its namespace cannot be opened.
    #[error("the process is gone, or its namespace cannot be opened")]
    Open(#[from] OpenNetnsError),
    /// Its cookie cannot be read.
    #[error("the namespace cannot be entered")]
    Enter(#[source] io::Error),
    /// It is the node's.
    #[error("it shares the node's network")]
    Node,
    /// Its addresses cannot be listed.
    #[error("the namespace's addresses cannot be listed")]
    Addresses(#[from] NetlinkError),
    /// It has other addresses.
    #[error("the namespace has none of the pod's addresses")]
    Foreign,
}

impl Finder {
    /// Runs until dropped.
    pub async fn run(mut self) {
        // Until then the reconcile task has not said which pods it knows.
        if self
            .view
            .wait_for(|view| view.source_complete)
            .await
            .is_err()
        {
            return;
        }
        let mut retries: BTreeMap<String, (Instant, Duration)> = BTreeMap::new();
        loop {
            let now = Instant::now();
            let missing = self.missing();
            retries.retain(|uid, _| missing.iter().any(|pod| pod.node_uid() == uid));
            let due: Vec<_> = missing
                .into_iter()
                .filter(|pod| retries.get(pod.node_uid()).is_none_or(|(at, _)| *at <= now))
                .collect();
            for pod in &due {
                let delay = retries
                    .get(pod.node_uid())
                    .map_or(FIRST_RETRY, |(_, delay)| (*delay * 2).min(LONGEST_RETRY));
                retries.insert(pod.node_uid().to_owned(), (Instant::now() + delay, delay));
            }
            if !due.is_empty() && self.announce(due).await.is_none() {
                return;
            }
            let next = retries.values().map(|(at, _)| *at).min();
            let wait = next.map_or(LONGEST_RETRY, |at| {
                at.saturating_duration_since(Instant::now())
            });
            let _ = timeout(wait, self.roster.changed()).await;
        }
    }

    fn missing(&self) -> Vec<PodFacts> {
        let wanted = self.roster.wanted(&self.excluded);
        if wanted.is_empty() {
            return wanted;
        }
        let view = self.view.borrow().clone();
        let known: BTreeSet<&str> = view.pods.iter().map(|pod| pod.uid.as_str()).collect();
        let unknown = wanted
            .into_iter()
            .filter(|pod| !known.contains(pod.node_uid()));
        unknown.collect()
    }

    /// `None` when nobody listens any more.
    async fn announce(&self, pods: Vec<PodFacts>) -> Option<()> {
        let uids: Vec<_> = pods
            .iter()
            .filter_map(|pod| CgroupUid::new(pod.node_uid()))
            .collect();
        let proc = self.proc.clone();
        let scan = tasks::spawn_blocking("proc scan", move || {
            let found = processes::of_pods(&proc, &uids)?;
            let owned = found.into_iter().map(|(uid, found)| (uid.clone(), found));
            Ok::<BTreeMap<_, _>, io::Error>(owned.collect())
        });
        let found = match scan.await {
            End::Returned(Ok(found)) => found,
            End::Returned(Err(error)) => {
                tracing::error!(proc = %self.proc.display(), %error, "processes cannot be listed");
                return Some(());
            }
            End::Panicked(_) | End::Aborted => return Some(()),
        };
        for pod in pods {
            let processes = CgroupUid::new(pod.node_uid()).and_then(|uid| found.get(&uid));
            let Some(found) = self
                .choose(&pod, processes.map_or(&[], Vec::as_slice))
                .await
            else {
                continue;
            };
            tracing::info!(
                workload = %format_args!("{}/{}", pod.namespace, pod.name),
                netns = %found.netns.display(), "a running pod joins"
            );
            let (reply, _) = oneshot::channel();
            let call = CniCall {
                command: CniCommand::Add,
                request: Request {
                    container_id: found.container_id,
                    netns: found.netns.display().to_string(),
                    namespace: pod.namespace.clone(),
                    name: pod.name.clone(),
                    uid: Some(pod.node_uid().to_owned()),
                    ips: pod.ips,
                },
                reply,
            };
            self.events.send(Event::Cni(call)).await.ok()?;
        }
        Some(())
    }

    async fn choose(&self, pod: &PodFacts, processes: &[Process]) -> Option<Found> {
        let workload = format_args!("{}/{}", pod.namespace, pod.name).to_string();
        let Some(oldest) = processes.first() else {
            tracing::warn!(workload, "no process of a running pod was found");
            return None;
        };
        for process in processes {
            match self.check(&process.netns, &pod.ips).await {
                Ok(inode) => {
                    let named = by_inode(&self.netns_dir, inode);
                    return Some(Found {
                        netns: named.unwrap_or_else(|| process.netns.clone()),
                        container_id: oldest.container.clone().unwrap_or_default(),
                    });
                }
                Err(reason) => tracing::debug!(
                    workload, pid = process.pid, error = %causes(&reason), "not the pod's network"
                ),
            }
        }
        tracing::warn!(
            workload,
            "no process of a running pod has the pod's network"
        );
        None
    }

    async fn check(&self, path: &Path, ips: &[IpAddr]) -> Result<NsInode, NotIt> {
        let netns = Netns::open(path)?;
        if netns.cookie().map_err(NotIt::Enter)? == self.node_cookie {
            return Err(NotIt::Node);
        }
        let addresses = Netlink::open(&netns)?.addresses().await?;
        if addresses.iter().any(|address| ips.contains(&address.ip)) {
            Ok(netns.inode())
        } else {
            Err(NotIt::Foreign)
        }
    }
}

/// The name under which a runtime keeps this namespace.
fn by_inode(dir: &Path, inode: NsInode) -> Option<PathBuf> {
    let entries = fs::read_dir(dir).ok()?;
    entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| {
            fs::metadata(path)
                .is_ok_and(|found| (found.dev(), found.ino()) == (inode.dev, inode.ino))
        })
}

const FIRST_RETRY: Duration = Duration::from_secs(1);
const LONGEST_RETRY: Duration = Duration::from_secs(30);
