//! The only place that wires tasks.
//! In: settings. Out: a process that serves until it is drained: SIGTERM stops accepting (the agent
//! keeps the queues), tells peers to open no more streams, lets connections end until the deadline.
//! Threads: one control runtime (this one), N data-plane workers.

mod control;

use crate::admin;
use crate::capture::listeners::OpenPlan;
use crate::capture::table::{PodTable, TableSettings};
use crate::capture::zds;
use crate::certificates;
use crate::config::Config;
use crate::metrics::{Metrics, xds::XdsMetrics};
use crate::state::State;
use crate::state::writer::Writer;
use crate::thread::{self, WorkerHandle};
use crate::worker::Shared;
use ambit_api::metric_names as names;
use ambit_identity::store::StoreConfig;
use ambit_identity::{CaClient, CaClientConfig, SecretStore};
use ambit_runtime::drain::{self, Trigger, Watch};
use ambit_runtime::open_files;
use ambit_runtime::readiness::Readiness;
use ambit_runtime::signal::{InstallError, Signals};
use ambit_runtime::tasks::TaskGroup;
use ambit_telemetry::access_log::AccessLog;
use ambit_telemetry::logging::{self, Levels, LoggingError};
use ambit_telemetry::sink::Sink;
use prometheus_client::registry::Registry;
use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use thiserror::Error;

/// Why the process cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// Logging.
    #[error("logging cannot be set up")]
    Logging(#[from] LoggingError),
    /// A thread or runtime.
    #[error("a thread or runtime cannot be made")]
    Threads(#[source] io::Error),
    /// Signals.
    #[error("signals cannot be received")]
    Signals(#[from] InstallError),
    /// An admin port.
    #[error("a port cannot be served")]
    Port(#[from] ambit_runtime::admin::BindError),
}

/// Runs until drained.
///
/// # Errors
/// What is needed to start is not there.
pub fn run(config: Config) -> Result<(), StartError> {
    let sink = Sink::stdout().map_err(StartError::Threads)?;
    let levels = logging::init(config.log_format, &config.log_filter, sink.clone())?;
    open_files::raise();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(StartError::Threads)?;
    let served = runtime.block_on(serve(config, sink.clone(), levels));
    sink.flush(LAST_LINES);
    served
}

async fn serve(config: Config, sink: Sink, levels: Levels) -> Result<(), StartError> {
    let signals = Signals::install()?;
    let (trigger, watch) = drain::channel();
    let readiness = Readiness::new();
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry, sink.clone());
    let xds_metrics = XdsMetrics::register(&mut registry);
    let mut tasks = TaskGroup::new("control");
    let state = State::new(ambit_model::Snapshot::default());
    let secrets = fetch_certificates(&config, &mut tasks);
    let asked = secrets.clone();
    let help = "Peers refused because a certificate of theirs is revoked";
    let name = (names::PEERS_REVOKED, help);
    ambit_runtime::metrics::counter(&mut registry, name, move || asked.peers_revoked());
    let refused = metrics.xds_refused.clone();
    let writer = Writer::new(state.clone(), readiness.gate("state"), refused);
    follow_controller(&config, writer, &xds_metrics, &mut tasks);
    tracing::info!(
        version = ambit_runtime::build_info::VERSION,
        workers = config.workers,
        node = config.node.node_name,
        "starting"
    );
    config.warn();
    let access_log = AccessLog::new(config.log_format, sink);
    let shared = Arc::new(Shared {
        config,
        state: state.clone(),
        secrets,
        metrics,
        access_log,
    });
    let (workers, threads) = start_workers(&shared, &trigger)?;
    let config = &shared.config;
    let (table, pods) = PodTable::new(
        TableSettings {
            open: OpenPlan {
                workers: config.workers,
                ipv6: config.ipv6,
                dns: config.dns.enabled,
                keepalive: config.keepalive,
            },
            packet_mark: config.packet_mark,
        },
        workers.clone(),
        shared.metrics.pods.clone(),
    );
    let follow = certificates::run(shared.secrets.clone(), state.clone(), pods.clone());
    tasks.spawn("certificates of pods", follow);
    let gate = readiness.gate("workload proxy manager");
    let serve = zds::run(config.zds.clone(), table, gate, trigger.watch());
    let wait = config
        .zds_after_sync
        .then(|| configured(state, trigger.watch()));
    tasks.spawn("zds", after(wait, serve));
    let grace = config.termination_deadline;
    let ports = admin::Ports {
        levels,
        readiness,
        registry: Arc::new(registry),
        workers,
        pods,
    };
    ports.serve(&shared, &trigger, &mut tasks).await?;
    tasks.spawn("signals", signals.drive(trigger.clone(), grace));
    drop(watch);
    let finished = trigger.finished().await;
    tracing::info!(?finished, "drained");
    // The workers cut what is left at the deadline and end by themselves.
    let joined = tokio::task::spawn_blocking(move || threads.into_iter().for_each(join));
    let _ = tokio::time::timeout(LAST_CONNECTIONS, joined).await;
    Ok(())
}

/// Waits for the first configuration; `false` if the drain begins before.
async fn configured(state: Arc<State>, mut drain: Watch) -> bool {
    let mut changes = state.changes();
    while !state.load().synced().complete() {
        tokio::select! {
            _ = drain.signalled() => return false,
            changed = changes.changed() => if changed.is_err() {
                return false;
            },
        }
    }
    true
}

/// Does something after something else, if that went well.
async fn after(first: Option<impl Future<Output = bool>>, then: impl Future<Output = ()>) {
    let go_on = match first {
        Some(first) => first.await,
        None => true,
    };
    if go_on {
        then.await;
    }
}

fn fetch_certificates(config: &Config, tasks: &mut TaskGroup) -> SecretStore {
    let authority = CaClientConfig {
        revoked: config.revoked.clone(),
        ..CaClientConfig::node_proxy(control::ca_server(config), control::token(config))
    };
    let settings = StoreConfig {
        validity: config.secret_ttl,
        ..StoreConfig::default()
    };
    let (secrets, fetch) = SecretStore::new(Arc::new(CaClient::new(authority)), settings);
    tasks.spawn("certificates", fetch);
    secrets
}

fn follow_controller(config: &Config, writer: Writer, metrics: &XdsMetrics, tasks: &mut TaskGroup) {
    let Some(client) = control::xds_client(config, Writer::TYPES.to_vec()) else {
        tracing::warn!("xDS is switched off: without configuration every connection is refused");
        return;
    };
    tasks.spawn("xds", ambit_xds::run(client, metrics.counters(), writer));
}

fn start_workers(
    shared: &Arc<Shared>,
    trigger: &Trigger,
) -> Result<(Vec<WorkerHandle>, Vec<JoinHandle<()>>), StartError> {
    let started: io::Result<Vec<_>> = (0..shared.config.workers)
        .map(|index| thread::start(index, shared.clone(), trigger.watch()))
        .collect();
    Ok(started.map_err(StartError::Threads)?.into_iter().unzip())
}

fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!("a worker panicked");
    }
}

const LAST_LINES: Duration = Duration::from_secs(1);
const LAST_CONNECTIONS: Duration = Duration::from_secs(2);
