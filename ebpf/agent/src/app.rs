//! The one place that wires the agent's parts.
//! In: [`Config`] and a drain. Out: a running agent until the drain.
//! Owns every task. Must not happen here: a decision of any part.
//! Stopping leaves everything in the kernel as it is: pods stay captured, the next agent adopts them. Only
//! an agent whose DaemonSet is gone takes the mesh off the node.

mod cluster;
mod home;

use home::{Feeders, Home};

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use ambit_ebpf_loader::{
    Capture, CaptureConfig, CgroupError, CgroupRef, NameserverError, OpenError, cgroup2_mount_of,
};
use ambit_net::Netns;
use ambit_net::netns::OpenNetnsError;
use ambit_net::sysctl::SysctlRoot;
use ambit_runtime::admin::{self, Reply, Routes};
use ambit_runtime::causes::causes;
use ambit_runtime::drain::Watch;
use ambit_runtime::readiness::Readiness;
use ambit_runtime::tasks::{End, Ended, TaskGroup};
use ambit_runtime::{build_info, metrics};
use ambit_source::kubernetes::{ConnectError, Writer};
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, watch};

use crate::config::Config;
use crate::counters::{Counters, Scraped};
use crate::events::Event;
use crate::journal::{Journal, JournalError};
use crate::reconcile::{StartError, Started, Startup};
use crate::sandbox::cgroup_tree;
use crate::selftest::{self, SelfTestError};
use crate::status::AnnounceError;
use crate::view::View;
use crate::{cni_server, leave, zds};

/// Why the agent cannot start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The API server.
    #[error("there is no way to an api server, and no source directory")]
    Connect(#[from] ConnectError),
    /// With a directory nobody says which pods are proxies.
    #[error("with a source directory the proxy's cgroup must be given")]
    NoProxyCgroup,
    /// The node's namespace.
    #[error("the node's network namespace cannot be used")]
    NodeNetns(#[from] OpenNetnsError),
    /// Its cookie.
    #[error("the node's network namespace has no cookie")]
    NodeCookie(#[source] io::Error),
    /// The cgroup of pods.
    #[error("the cgroup of pods cannot be used")]
    Kubepods(#[from] CgroupError),
    /// Programs and maps.
    #[error("capture cannot be opened")]
    Capture(#[from] OpenError),
    /// Nameservers.
    #[error("nameservers cannot be set")]
    Nameservers(#[from] NameserverError),
    /// The self-test.
    #[error("this node cannot enroll pods")]
    SelfTest(#[from] SelfTestError),
    /// The journal.
    #[error("the journal cannot be opened")]
    Journal(#[from] JournalError),
    /// What a former agent left.
    #[error("the former state cannot be adopted")]
    Start(#[from] StartError),
    /// Statuses.
    #[error("statuses cannot be written")]
    Announcer(#[from] AnnounceError),
    /// The plugin's socket.
    #[error("the cni socket cannot be served")]
    Cni(#[from] cni_server::BindError),
    /// The proxies' socket.
    #[error("the zds socket cannot be served")]
    Zds(#[from] zds::ServeError),
    /// Metrics or readiness.
    #[error("a port cannot be served")]
    Port(#[from] admin::BindError),
    /// A part that must run for ever ended.
    #[error("the task {0} ended: {1}")]
    Ended(&'static str, String),
}

/// Runs the agent until the drain begins.
///
/// # Errors
/// See [`AppError`].
pub async fn run(config: Config, mut drain: Watch) -> Result<(), AppError> {
    let home = Home::of(&config).await?;
    let readiness = Readiness::new();
    let source_gate = readiness.gate("source");
    let recovered = readiness.gate("listeners of captured pods");
    let node_cookie = node_cookie(&config)?;
    let sysctls = SysctlRoot::new(&config.proc);
    let capture = capture(&config, &home, node_cookie, &sysctls).await?;
    let counters = Counters::default();
    let Started {
        reconciler,
        events,
        view,
    } = Startup {
        capture: capture.clone(),
        node_cookie,
        sysctls,
        announcer: home.announcer(&config)?,
        exemption: home.exemption.clone(),
        journal: Journal::open(&config.node.run_dir)?,
        known_file: config.node.state_file(),
        excluded: config.exclude_namespaces.clone(),
        counters: counters.clone(),
        synced: source_gate,
        recovered,
    }
    .adopt()?;
    let feeders = Feeders {
        home: &home,
        config: &config,
        capture: capture.clone(),
        view: view.clone(),
        events: events.clone(),
    };
    let mut registry = registry(capture.clone(), &counters, view.clone());
    home.annotations.register(&mut registry);
    let mut feeders = feeders.start(&readiness, &mut registry, node_cookie);
    let mut tasks = serve(
        &config,
        &drain,
        readiness,
        routes(registry, view.clone()),
        &events,
    )
    .await?;
    tasks.spawn("reconcile", reconciler.run());
    if let Some(client) = home.client.clone() {
        let writer = Writer::new(client, MANAGER);
        tasks.spawn("annotations", home.annotations.clone().write(writer));
    }
    drop(capture);
    tracing::info!("agent started");
    tokio::select! {
        _ = drain.signalled() => {}
        Some(ended) = tasks.next() => return Err(ended_early(ended)),
        Some(ended) = feeders.next() => return Err(ended_early(ended)),
    }
    if !home.is_final(&config).await {
        tracing::info!("agent stops; pods stay captured");
        return Ok(());
    }
    feeders.shutdown().await;
    home.dismiss(&config, &events, view).await;
    tasks.shutdown().await;
    if let Err(error) = leave::tear_down(&config.node).await {
        tracing::error!(error = %causes(&error), "capture stays on this node");
    }
    Ok(())
}

/// Open capture on a node that has passed the self-test.
async fn capture(
    config: &Config,
    home: &Home,
    node_cookie: u64,
    sysctls: &SysctlRoot,
) -> Result<Arc<Capture>, AppError> {
    let capture = Arc::new(open_capture(config, node_cookie)?);
    selftest::run(&capture, sysctls).await?;
    // Those a former agent looked up stay until they are looked up again.
    if home.client.is_none() || !config.nameservers.is_empty() {
        capture.set_nameservers(&config.nameservers)?;
    }
    Ok(capture)
}

fn ended_early(ended: Ended) -> AppError {
    let how = match ended.end {
        End::Returned(()) => "it returned".to_owned(),
        End::Panicked(message) => message,
        End::Aborted => "it was aborted".to_owned(),
    };
    AppError::Ended(ended.task, how)
}

/// Binds every socket and serves on it.
async fn serve(
    config: &Config,
    drain: &Watch,
    readiness: Readiness,
    routes: Routes,
    events: &mpsc::Sender<Event>,
) -> Result<TaskGroup, AppError> {
    let zds = zds::Server::bind(&config.zds_socket)?;
    let cni = cni_server::Server::bind(&config.node.cni_socket)?;
    let metrics_port = admin::Server::bind(config.metrics_addr).await?;
    let ready_port = admin::Server::bind(config.ready_addr).await?;
    let mut tasks = TaskGroup::new("agent");
    tasks.spawn("zds", zds.serve(events.clone()));
    tasks.spawn("cni", cni.serve(events.clone()));
    tasks.spawn("metrics", metrics_port.serve(routes, drain.clone()));
    let ready_routes = readiness.routes(Routes::new());
    let ready_routes = ready_routes.get("/readyz", "readiness", move |_| {
        if readiness.is_ready() {
            Reply::text("ready\n")
        } else {
            Reply::error(http::StatusCode::SERVICE_UNAVAILABLE, "not ready\n")
        }
    });
    tasks.spawn("readiness", ready_port.serve(ready_routes, drain.clone()));
    Ok(tasks)
}

fn node_cookie(config: &Config) -> Result<u64, AppError> {
    Netns::open(&config.node.node_netns)?
        .cookie()
        .map_err(AppError::NodeCookie)
}

fn open_capture(config: &Config, node_netns_cookie: u64) -> Result<Capture, AppError> {
    let kubepods = match kubepods(config) {
        Some(path) => Some(CgroupRef::of(&path, &cgroup2_mount_of(&path)?)?),
        None => None,
    };
    Ok(Capture::open(CaptureConfig {
        pin_root: config.node.pin_root.clone(),
        cgroup_root: config.node.cgroup_root.clone(),
        node_netns_cookie,
        kubepods,
    })?)
}

fn kubepods(config: &Config) -> Option<PathBuf> {
    if config.kubepods_cgroup.is_some() || config.source_dir.is_some() {
        return config.kubepods_cgroup.clone();
    }
    let found = cgroup_tree::kubepods(&config.node.cgroup_root);
    if found.is_none() {
        let root = config.node.cgroup_root.display();
        tracing::warn!(%root, "no cgroup of all pods: hostNetwork pods pass as probes");
    }
    found
}

fn registry(
    capture: Arc<Capture>,
    counters: &Counters,
    view: watch::Receiver<Arc<View>>,
) -> Registry {
    let mut registry = Registry::default();
    build_info::register(&mut registry, "cni");
    counters.register(&mut registry);
    registry.register_collector(Box::new(Scraped::new(capture, view)));
    registry
}

fn routes(registry: Registry, view: watch::Receiver<Arc<View>>) -> Routes {
    metrics::routes(Routes::new(), Arc::new(registry)).get(
        "/debug/pods",
        "pods and what is done for them",
        move |_| {
            let view = view.borrow().clone();
            match serde_json::to_vec_pretty(view.as_ref()) {
                Ok(body) => Reply::json(body),
                Err(error) => {
                    Reply::error(http::StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
                }
            }
        },
    )
}

/// Field manager of the agent's writes.
const MANAGER: &str = "ambit-agent";
