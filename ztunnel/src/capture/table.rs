//! The pods this proxy serves.
//! In: requests of the agent. Out: one reply each, and commands to the workers.
//! Owns: uid → pod; the workers own the sockets. After a snapshot, pods the agent did not name go.
//! Must not: wait for the controller; serve a pod that was only half described.

use super::listeners::{OpenPlan, PodSockets};
use super::message::{Add, HeldSockets, Listener, Request, Sockets};
use crate::metrics::PodMetrics;
use crate::pod::{Capture, Pod, Role, WorkerSockets};
use crate::thread::WorkerHandle;
use ambit_net::Netns;
use foldhash::{HashMap, HashMapExt, HashSet, HashSetExt};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use tokio::sync::watch;

/// The answer to one request.
#[derive(Debug)]
pub enum Reply {
    /// Done.
    Done,
    /// Not done, and why.
    Failed(String),
    /// Done; here are listeners we hold, role by role.
    Held(HeldSockets, Vec<OwnedFd>),
}

/// All pods, and the session in which they were named.
#[derive(Debug)]
pub struct PodTable {
    settings: TableSettings,
    workers: Vec<WorkerHandle>,
    metrics: PodMetrics,
    pods: HashMap<String, Served>,
    /// Listeners of pods whose description is not complete yet.
    parts: HashMap<String, Vec<Listener>>,
    /// Pods for which listeners could not be opened.
    pending: HashMap<String, Arc<Pod>>,
    named: HashSet<String>,
    served: watch::Sender<Vec<Arc<Pod>>>,
}

/// What the table must know.
#[derive(Clone, Copy, Debug)]
pub struct TableSettings {
    /// For pods of an agent without listeners.
    pub open: OpenPlan,
    /// Mark of the sockets we dial with.
    pub packet_mark: u32,
}

#[derive(Debug)]
struct Served {
    pod: Arc<Pod>,
    sockets: Vec<u64>,
}

impl PodTable {
    /// A table without pods, and the list of pods served, for those who follow it.
    pub fn new(
        settings: TableSettings,
        workers: Vec<WorkerHandle>,
        metrics: PodMetrics,
    ) -> (Self, watch::Receiver<Vec<Arc<Pod>>>) {
        let (served, pods) = watch::channel(Vec::new());
        let table = Self {
            settings,
            workers,
            metrics,
            pods: HashMap::new(),
            parts: HashMap::new(),
            pending: HashMap::new(),
            named: HashSet::new(),
            served,
        };
        (table, pods)
    }

    /// Workers that take listeners.
    pub fn workers(&self) -> usize {
        self.workers.len()
    }

    /// A new connection to the agent: it will name all pods again.
    pub fn begin_session(&mut self) {
        self.named.clear();
        self.parts.clear();
    }

    /// Serves one request.
    pub async fn handle(&mut self, request: Request) -> Reply {
        match request {
            Request::Add(add) => self.add(add).await,
            Request::Del { uid } => {
                self.remove(&uid).await;
                Reply::Done
            }
            Request::Keep { uid } => {
                self.named.insert(uid);
                Reply::Done
            }
            Request::SnapshotSent => {
                self.sweep().await;
                Reply::Done
            }
        }
    }

    /// Tries again to open listeners of pods where that failed.
    pub async fn retry_pending(&mut self) {
        for (uid, pod) in std::mem::take(&mut self.pending) {
            if let Reply::Failed(error) = self.open(&uid, pod).await {
                tracing::warn!(pod = %uid, error, "pod still cannot be served");
            }
        }
    }

    async fn add(&mut self, add: Add) -> Reply {
        let netns = match Netns::from_fd(add.netns) {
            Ok(netns) => netns,
            Err(error) => return Reply::Failed(error.to_string()),
        };
        let known = self
            .pods
            .get(&add.uid)
            .filter(|s| s.pod.netns.inode() == netns.inode());
        let same = known.map(|served| served.pod.clone());
        if same.is_none() && self.pods.contains_key(&add.uid) {
            self.remove(&add.uid).await;
        }
        let asks = |s: &Sockets| s.listeners.is_empty() && !s.more;
        if let Some(question) = add.sockets.as_ref().filter(|s| asks(s))
            && !self.parts.contains_key(&add.uid)
        {
            return match same {
                Some(_) => {
                    self.named.insert(add.uid.clone());
                    self.held(&add.uid, question.first).await
                }
                None => Reply::Done,
            };
        }
        self.named.insert(add.uid.clone());
        let capture = match add.sockets {
            Some(_) => Capture::Steered,
            None => Capture::Redirected,
        };
        let reached = (capture, self.settings.packet_mark);
        match add.sockets {
            None if same.is_some() => Reply::Done,
            None => {
                let uid: Arc<str> = add.uid.as_str().into();
                let pod = Arc::new(Pod::new(uid, add.identity, netns, reached));
                self.open(&add.uid, pod).await
            }
            Some(sockets) => {
                let parts = self.parts.entry(add.uid.clone()).or_default();
                parts.extend(sockets.listeners);
                if sockets.more {
                    return Reply::Done;
                }
                let listeners = self.parts.remove(&add.uid).unwrap_or_default();
                let adopted = match PodSockets::adopt(listeners, self.workers.len()) {
                    Ok(adopted) => adopted,
                    Err(error) => return Reply::Failed(format!("a listener is unusable: {error}")),
                };
                let uid: Arc<str> = add.uid.as_str().into();
                let pod = same
                    .filter(|pod| pod.identity == add.identity)
                    .unwrap_or_else(|| Arc::new(Pod::new(uid, add.identity, netns, reached)));
                self.serve(&add.uid, pod, adopted).await
            }
        }
    }

    async fn open(&mut self, uid: &str, pod: Arc<Pod>) -> Reply {
        match PodSockets::open(&pod, &self.settings.open) {
            Ok(sockets) => self.serve(uid, pod, sockets).await,
            Err(error) => {
                let error = ambit_runtime::causes::causes(&error);
                self.pending.insert(uid.to_owned(), pod);
                self.metrics.pending.set(count(self.pending.len()));
                Reply::Failed(error)
            }
        }
    }

    async fn serve(&mut self, uid: &str, pod: Arc<Pod>, sockets: PodSockets) -> Reply {
        let inodes = sockets.inodes().to_vec();
        if let Some(served) = self.pods.get(uid)
            && served.sockets == inodes
            && Arc::ptr_eq(&served.pod, &pod)
        {
            return Reply::Done;
        }
        let lists = sockets.into_workers();
        for (worker, list) in self.workers.iter().zip(lists) {
            if let Err(error) = worker.serve(pod.clone(), list).await {
                self.remove(uid).await;
                return Reply::Failed(error.to_string());
            }
        }
        tracing::info!(
            pod = uid,
            name = &*pod.identity.name,
            namespace = &*pod.identity.namespace,
            "pod is served"
        );
        if self
            .pods
            .insert(
                uid.to_owned(),
                Served {
                    pod,
                    sockets: inodes,
                },
            )
            .is_none()
        {
            self.metrics.started.inc();
        }
        self.publish();
        Reply::Done
    }

    async fn remove(&mut self, uid: &str) {
        self.parts.remove(uid);
        self.pending.remove(uid);
        self.named.remove(uid);
        if self.pods.remove(uid).is_some() {
            for worker in &self.workers {
                worker.remove(uid).await;
            }
            self.metrics.stopped.inc();
            tracing::info!(pod = uid, "pod is no longer served");
        }
        self.publish();
    }

    /// Removes the pods the agent did not name.
    async fn sweep(&mut self) {
        let known = self.pods.keys().chain(self.pending.keys());
        let gone: Vec<String> = known
            .filter(|uid| !self.named.contains(*uid))
            .cloned()
            .collect();
        for uid in gone {
            self.remove(&uid).await;
        }
    }

    /// Duplicates of the listeners the workers hold, as many as fit a message, from worker `first`.
    /// Without a full set nothing is given back: the agent then makes new ones.
    async fn held(&self, uid: &str, first: usize) -> Reply {
        let range: Vec<&WorkerHandle> = self
            .workers
            .iter()
            .skip(first)
            .take(WORKERS_PER_MESSAGE)
            .collect();
        let workers = range.len();
        let mut per_worker: Vec<WorkerSockets> = Vec::with_capacity(workers);
        for worker in range {
            per_worker.push(worker.held(uid).await);
        }
        let mut roles = Vec::new();
        let mut fds = Vec::new();
        for role in Role::ALL {
            let take = |list: &mut WorkerSockets| {
                let at = list.iter().position(|(r, _)| *r == role)?;
                Some(list.swap_remove(at).1)
            };
            let found: Vec<OwnedFd> = per_worker.iter_mut().filter_map(take).collect();
            if found.len() == workers && workers > 0 {
                roles.push(role);
                fds.extend(found);
            } else if !found.is_empty() {
                return Reply::Done;
            }
        }
        if roles.is_empty() {
            return Reply::Done;
        }
        let more = first + workers < self.workers.len();
        Reply::Held(
            HeldSockets {
                roles,
                first,
                workers,
                more,
            },
            fds,
        )
    }

    fn publish(&self) {
        self.metrics.active.set(count(self.pods.len()));
        self.metrics.pending.set(count(self.pending.len()));
        self.served
            .send_replace(self.pods.values().map(|s| s.pod.clone()).collect());
    }
}

/// Each worker has one descriptor per role, and a message has room for 253.
const WORKERS_PER_MESSAGE: usize = ambit_net::fd_passing::MAX_FDS / Role::ALL.len();

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
