//! What depends on where pods come from: a directory or an API server.
//! In: settings. Out: the source, who is exempt, where annotations go, and the tasks that feed the reconcile
//! task. Owns the copies of what the source told. Must not happen here: a change of a pod.

use std::sync::Arc;
use std::time::Duration;

use ambit_ebpf_loader::Capture;
use ambit_runtime::causes::causes;
use ambit_runtime::readiness::Readiness;
use ambit_runtime::tasks::TaskGroup;
use ambit_source::kubernetes::{self, Client};
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, watch};

use super::{AppError, cluster};
use crate::config::Config;
use crate::departure::Departure;
use crate::events::{Event, Facts};
use crate::exempt::Exemption;
use crate::install::{self, Installer};
use crate::leave;
use crate::roster::Roster;
use crate::sandbox::finder::Finder;
use crate::source::Source;
use crate::status::{AnnounceError, Announcer, Cluster};
use crate::view::View;

/// Where this agent's pods, proxies and statuses are.
pub(super) struct Home {
    source: Source,
    /// With the API server as the source.
    pub(super) client: Option<Client>,
    pub(super) exemption: Exemption,
    pub(super) annotations: Cluster,
    roster: Roster,
}

impl Home {
    pub(super) async fn of(config: &Config) -> Result<Self, AppError> {
        let (source, client) = match &config.source_dir {
            Some(dir) => (Source::Directory(dir.clone()), None),
            None => {
                let client = kubernetes::connect(config.kubeconfig.as_deref()).await?;
                (Source::Cluster(client.clone()), Some(client))
            }
        };
        let exemption = match &config.proxy_cgroup {
            Some(path) => Exemption::new(vec![path.clone()]),
            None if client.is_some() => {
                Exemption::of_pods(&config.node.cgroup_root, &config.pod_namespace)
            }
            None => return Err(AppError::NoProxyCgroup),
        };
        Ok(Self {
            source,
            client,
            exemption,
            annotations: Cluster::default(),
            roster: Roster::default(),
        })
    }

    pub(super) fn announcer(&self, config: &Config) -> Result<Announcer, AnnounceError> {
        match &config.source_dir {
            Some(dir) => Announcer::directory(dir, &config.node_name),
            None => Ok(Announcer::cluster(self.annotations.clone())),
        }
    }

    pub(super) async fn is_final(&self, config: &Config) -> bool {
        match &self.client {
            Some(client) => {
                let namespace = &config.pod_namespace;
                // Unless it says otherwise, a pod's host name is its own.
                let name = nix::unistd::gethostname().unwrap_or_default();
                let name = name.to_string_lossy().into_owned();
                let own_pod = || self.roster.has(namespace, &name);
                let set = (namespace.as_str(), config.daemon_set.as_str());
                leave::is_final(client, set, &config.node_name, own_pod).await
            }
            None => false,
        }
    }

    /// Takes the plugin away and lets the pods leave.
    pub(super) async fn dismiss(
        &self,
        config: &Config,
        events: &mpsc::Sender<Event>,
        view: watch::Receiver<Arc<View>>,
    ) {
        tracing::info!("no agent follows: this node leaves the mesh");
        if let Some((files, _)) = config.installation()
            && let Err(error) = leave::unchain(&files)
        {
            tracing::error!(error = %causes(&error), "the plugin stays in the chain");
        }
        leave::dismiss(events, view, self.roster.everyone_out()).await;
        if !self.annotations.settled(LAST_WORDS).await {
            tracing::warn!("redirection annotations stay on some pods");
        }
    }
}

/// Tasks that tell the reconcile task what to do, and those beside it: the first to end when a node leaves.
pub(super) struct Feeders<'a> {
    pub(super) home: &'a Home,
    pub(super) config: &'a Config,
    pub(super) capture: Arc<Capture>,
    pub(super) view: watch::Receiver<Arc<View>>,
    pub(super) events: mpsc::Sender<Event>,
}

impl Feeders<'_> {
    pub(super) fn start(
        self,
        readiness: &Readiness,
        registry: &mut Registry,
        node_cookie: u64,
    ) -> TaskGroup {
        let (home, config) = (self.home, self.config);
        let mut tasks = TaskGroup::new("feeders");
        if let Some((files, settings)) = config.installation() {
            let counters = install::Counters::default();
            counters.register(registry);
            let gate = readiness.gate("cni plugin in the chain");
            let installer = Installer::new(files, &settings, counters, gate);
            tasks.spawn("cni install", installer.run());
        }
        if let Some(client) = home.client.clone() {
            if config.nameservers.is_empty() {
                let following = cluster::follow_nameservers(client.clone(), self.capture.clone());
                tasks.spawn("nameservers", following);
            }
            let finder = Finder {
                roster: home.roster.clone(),
                view: self.view,
                events: self.events.clone(),
                proc: config.proc.clone(),
                netns_dir: config.netns_dir.clone(),
                node_cookie,
                excluded: config.exclude_namespaces.clone(),
            };
            tasks.spawn("running pods", finder.run());
            let watcher = Departure {
                client: client.clone(),
                roster: home.roster.clone(),
                events: self.events.clone(),
                daemon_set: (
                    config.pod_namespace.clone(),
                    config.proxy_daemon_set.clone(),
                ),
                node: config.node_name.clone(),
            };
            tasks.spawn("the proxy's place", watcher.run());
        }
        let hear = hear(home, self.capture);
        let (source, node, events) = (home.source.clone(), config.node_name.clone(), self.events);
        tasks.spawn("source", async move {
            if let Err(error) = source.run(node, hear, events).await {
                tracing::error!(error = %causes(&error), "the source cannot be watched");
            }
        });
        tasks
    }
}

/// Everybody beside the reconcile task who must know what the source tells.
fn hear(home: &Home, capture: Arc<Capture>) -> impl Fn(&Facts) + Send + use<> {
    let annotations = home.client.is_some().then(|| home.annotations.clone());
    let (exemption, roster) = (home.exemption.clone(), home.roster.clone());
    move |facts| {
        if exemption.learn(facts)
            && let Err(error) = exemption.refresh(&capture)
        {
            // It is looked up again before a proxy gets anything.
            tracing::info!(error = %causes(&error), "no proxy to exempt yet");
        }
        if let Some(annotations) = &annotations {
            annotations.observe(facts);
        }
        roster.update(facts);
    }
}

/// For annotations, once the pods have left.
const LAST_WORDS: Duration = Duration::from_secs(3);
