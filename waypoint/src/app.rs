//! The only place that wires tasks.
//! In: settings. Out: a process that serves until it is drained: SIGTERM withdraws readiness; once nobody
//! new comes (`leaving`) it stops accepting, tells peers to open no more streams and requests, lets those
//! in progress end until the deadline.
//! Threads: one control runtime (this one), N data-plane workers.

mod control;

use crate::admin;
use crate::config::Config;
use crate::leaving::{self, Arrivals};
use crate::listen;
use crate::me::Me;
use crate::metrics::Metrics;
use crate::names;
use crate::state::{State, Subscriber};
use crate::worker::Parts;
use ambit_api::metric_names;
use ambit_identity::store::StoreConfig;
use ambit_identity::{CaClient, Lease, Priority, SecretStore};
use ambit_model::ids::{ServiceKey, SpiffeId};
use ambit_net::socket::{ListenError, ListenSpec};
use ambit_runtime::admin::BindError;
use ambit_runtime::drain::{self, Trigger};
use ambit_runtime::open_files;
use ambit_runtime::readiness::{Gate, Readiness};
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
    /// The HBONE port.
    #[error("the HBONE port cannot be served")]
    Hbone(#[from] ListenError),
    /// An admin port.
    #[error("a port cannot be served")]
    Port(#[from] BindError),
    /// The roots of the xDS server.
    #[error("the xDS server cannot be trusted")]
    Roots(#[from] ambit_identity::grpc_tls::GrpcTlsError),
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

const LAST_LINES: Duration = Duration::from_secs(1);
const LAST_REQUESTS: Duration = Duration::from_secs(2);

async fn serve(config: Config, sink: Sink, levels: Levels) -> Result<(), StartError> {
    let signals = Signals::install()?;
    let ((order, ordered), (trigger, watch)) = (drain::channel(), drain::channel());
    let readiness = Readiness::new();
    let mut registry = Registry::default();
    let metrics = Metrics::register(&mut registry);
    let mut tasks = TaskGroup::new("control");
    let identity = SpiffeId::new(
        &config.pod.trust_domain,
        &config.pod.namespace,
        &config.pod.service_account,
    );
    let (secrets, fetch) = SecretStore::new(
        Arc::new(CaClient::new(control::ca_client(&config))),
        StoreConfig {
            validity: config.secret_ttl,
            ..StoreConfig::default()
        },
    );
    tasks.spawn("certificates", fetch);
    let asked = secrets.clone();
    let help = "Peers refused because a certificate of theirs is revoked";
    let name = (metric_names::PEERS_REVOKED, help);
    ambit_runtime::metrics::counter(&mut registry, name, move || asked.peers_revoked());
    let lease = secrets.lease(&identity, Priority::OnDemand);
    tasks.spawn(
        "own certificate",
        follow(lease.clone(), readiness.gate("certificate")),
    );
    let (state, writer) = State::new(&config.gateway);
    let synced = readiness.gate("configuration");
    let subscriber = Subscriber::new(writer, state.clone(), synced, metrics.xds_refused());
    let client = control::xds_client(&config, Subscriber::TYPES.to_vec()).await?;
    tasks.spawn("xds", ambit_xds::run(client, metrics.xds(), subscriber));
    tracing::info!(
        version = ambit_runtime::build_info::VERSION,
        workers = config.workers,
        gateway = config.gateway,
        identity = %identity,
        "starting"
    );
    let access_log = AccessLog::new(config.log_format, sink);
    let me = Arc::new(me(&config, identity));
    let listening = readiness.gate("listeners");
    let staying = readiness.gate("staying");
    staying.open();
    let parts = |arrivals| Parts {
        me: me.clone(),
        limits: config.limits,
        state: state.clone(),
        lease: lease.clone(),
        secrets: secrets.clone(),
        series: metrics.worker(),
        access_log: access_log.clone(),
        leaving: ordered.clone(),
        drain: trigger.watch(),
        any: config.listen.hbone.ip(),
        listening: listening.clone(),
        arrivals,
        seed: rand::random(),
    };
    let (threads, arrivals) = start_workers(&config, parts)?;
    tasks.spawn("names", names::run(state.clone()));
    let ports = admin::Ports {
        levels,
        readiness,
        registry: Arc::new(registry),
        state,
        secrets,
        me,
    };
    ports.serve(&config, (&order, &trigger), &mut tasks).await?;
    let leave = leaving::run(ordered, staying, arrivals, trigger.clone());
    tasks.spawn("leaving", leave);
    tasks.spawn("signals", signals.drive(order, config.termination_deadline));
    drop((watch, lease));
    drained(&trigger, threads).await;
    Ok(())
}

async fn drained(trigger: &Trigger, threads: Vec<JoinHandle<()>>) {
    let finished = trigger.finished().await;
    tracing::info!(?finished, "drained");
    // The workers cut what is left at the deadline and end by themselves.
    let joined = tokio::task::spawn_blocking(move || {
        for thread in threads {
            if thread.join().is_err() {
                tracing::error!("a worker panicked");
            }
        }
    });
    let _ = tokio::time::timeout(LAST_REQUESTS, joined).await;
}

fn start_workers(
    config: &Config,
    parts: impl Fn(Arrivals) -> Parts,
) -> Result<(Vec<JoinHandle<()>>, Vec<Arrivals>), StartError> {
    let mut threads = Vec::with_capacity(config.workers);
    let arrivals: Vec<Arrivals> = (0..config.workers).map(|_| Arrivals::default()).collect();
    for (index, arrivals) in arrivals.iter().enumerate() {
        let spec = ListenSpec {
            reuse_port: true,
            ..ListenSpec::new(config.listen.hbone)
        };
        let listener = spec.tcp(None)?;
        let parts = parts(arrivals.clone());
        let work = move || {
            if let Err(error) = listen::run(parts, listener) {
                tracing::error!(%error, "a worker cannot run");
            }
        };
        let thread = std::thread::Builder::new()
            .name(format!("worker-{index}"))
            .spawn(work);
        threads.push(thread.map_err(StartError::Threads)?);
    }
    Ok((threads, arrivals))
}

fn me(config: &Config, identity: SpiffeId) -> Me {
    let (namespace, name) = config.gateway.split_once('/').unwrap_or_default();
    let hostname = format!("{name}.{namespace}.svc.{}", config.pod.cluster_domain);
    Me {
        identity,
        gateway: config.gateway.as_str().into(),
        service: ServiceKey::new(namespace, &hostname),
        namespace: config.pod.namespace.clone(),
        network: config.pod.network.as_str().into(),
        ip: config.pod.ip.parse().ok(),
        baggage: control::baggage(config).to_header(),
        log_format: config.log_format,
    }
}

/// Ready while there is a certificate.
async fn follow(mut lease: Lease, gate: Gate) {
    loop {
        match lease.current() {
            Some(_) => gate.open(),
            None => gate.close(),
        }
        if lease.changed().await.is_err() {
            return;
        }
    }
}
