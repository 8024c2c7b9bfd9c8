//! The one place that wires the agent's parts.
//! In: [`Config`] and a drain. Out: a running agent until the drain.
//! Owns every task. Must not happen here: a decision of any part.
//! Stopping leaves everything in the kernel as it is: pods stay captured, the next agent adopts them.

use std::io;
use std::sync::Arc;

use ambit_ebpf_loader::{
    Capture, CaptureConfig, CgroupError, CgroupRef, NameserverError, OpenError, cgroup2_mount,
};
use ambit_net::Netns;
use ambit_net::netns::OpenNetnsError;
use ambit_net::sysctl::SysctlRoot;
use ambit_runtime::admin::{self, Reply, Routes};
use ambit_runtime::drain::Watch;
use ambit_runtime::readiness::Readiness;
use ambit_runtime::tasks::{End, TaskGroup};
use ambit_runtime::{build_info, metrics};
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, watch};

use crate::config::Config;
use crate::counters::{Counters, Scraped};
use crate::events::Event;
use crate::exempt::Exemption;
use crate::journal::{Journal, JournalError};
use crate::reconcile::{StartError, Started, Startup};
use crate::selftest::{self, SelfTestError};
use crate::status::{AnnounceError, Announcer};
use crate::view::View;
use crate::{cni_server, zds};

/// Why the agent cannot start, or had to stop.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
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
    let readiness = Readiness::new();
    let source_gate = readiness.gate("source");
    let capture = Arc::new(open_capture(&config)?);
    let sysctls = SysctlRoot::new(&config.proc);
    selftest::run(&capture, &sysctls).await?;
    capture.set_nameservers(&config.nameservers)?;
    let counters = Counters::default();
    let Started {
        reconciler,
        events,
        view,
    } = Startup {
        capture: capture.clone(),
        node_cookie: node_cookie(&config)?,
        sysctls,
        announcer: Announcer::directory(&config.source_dir, &config.node_name)?,
        exemption: Exemption::new(vec![config.proxy_cgroup.clone()]),
        journal: Journal::open(&config.run_dir)?,
        known_file: config.state_file(),
        excluded: config.exclude_namespaces.clone(),
        counters: counters.clone(),
        synced: source_gate,
    }
    .adopt()?;
    let mut tasks = serve(
        &config,
        &drain,
        readiness,
        routes(capture, &counters, view),
        &events,
    )
    .await?;
    tasks.spawn("reconcile", reconciler.run());
    let (source, node) = (config.source(), config.node_name);
    tasks.spawn("source", async move {
        if let Err(error) = source.run(node, events).await {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "the source cannot be watched"
            );
        }
    });
    tracing::info!("agent started");
    tokio::select! {
        _ = drain.signalled() => {
            tracing::info!("agent stops; pods stay captured");
            Ok(())
        }
        Some(ended) = tasks.next() => Err(AppError::Ended(ended.task, match ended.end {
            End::Returned(()) => "it returned".to_owned(),
            End::Panicked(message) => message,
            End::Aborted => "it was aborted".to_owned(),
        })),
    }
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
    let cni = cni_server::Server::bind(&config.cni_socket)?;
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
    Netns::open(&config.node_netns)?
        .cookie()
        .map_err(AppError::NodeCookie)
}

fn open_capture(config: &Config) -> Result<Capture, AppError> {
    let kubepods = match &config.kubepods_cgroup {
        Some(path) => Some(CgroupRef::of(path, &cgroup2_mount()?)?),
        None => None,
    };
    Ok(Capture::open(CaptureConfig {
        pin_root: config.pin_root.clone(),
        cgroup_root: config.cgroup_root.clone(),
        node_netns_cookie: node_cookie(config)?,
        kubepods,
    })?)
}

fn routes(capture: Arc<Capture>, counters: &Counters, view: watch::Receiver<Arc<View>>) -> Routes {
    let mut registry = Registry::default();
    build_info::register(&mut registry, "cni");
    counters.register(&mut registry);
    registry.register_collector(Box::new(Scraped::new(capture, view.clone())));
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
