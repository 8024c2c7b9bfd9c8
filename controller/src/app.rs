//! The one place that wires tasks: index, TLS port, HTTP port.

mod in_cluster;

use crate::authority::{Keeper, Ledger, Origin, Settings};
use crate::cluster::roots::Namespaces;
use crate::config::{Config, Source};
use crate::facts::{Facts, SharedFacts};
use crate::metrics::Metrics;
use crate::serve::ca::CaService;
use crate::serve::tls::{self, TlsPort};
use crate::serve::tokens::Tokens;
use crate::serve::xds::XdsAuthorizer;
use crate::serve::{Authority, http};
use crate::watch::IndexTask;
use crate::write::{DirectoryWrites, Executor};
use ambit_ca::auth::Authenticator;
use ambit_ca::authorize::Rules;
use ambit_index::Index;
use ambit_runtime::readiness::Readiness;
use ambit_runtime::tasks::{End, Ended, TaskGroup};
use ambit_runtime::{admin, drain};
use ambit_source::{Watch, Writer};
use ambit_xds::ResourceSet;
use anyhow::{Context, bail};
use arc_swap::ArcSwap;
use prometheus_client::registry::Registry;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::watch;

/// Name under which the controller writes statuses.
const WRITER: &str = "controller";

/// A running controller.
pub struct App {
    tasks: TaskGroup,
    drain: drain::Watch,
    xds_addr: SocketAddr,
    http_addr: SocketAddr,
    webhook_addr: Option<SocketAddr>,
}

impl App {
    /// Opens everything and starts all tasks.
    ///
    /// # Errors
    /// What cannot be opened, with its causes.
    pub async fn start(config: Config, drain: drain::Watch) -> anyhow::Result<Self> {
        let metrics = Metrics::default();
        let mut tasks = TaskGroup::new("controller");
        let (namespaces, namespaces_watch) = watch::channel(Arc::default());
        let (holds_default, holds_default_watch) = watch::channel(false);
        let around = Around {
            config: &config,
            drain: &drain,
            metrics: &metrics,
            namespaces: namespaces_watch,
            holds_default: holds_default_watch,
        };
        let opened = match &config.source {
            Source::Directory { dir, jwks, ca_dir } => {
                directory(&around, dir, jwks, ca_dir, &mut tasks).await?
            }
            Source::Cluster(cluster) => in_cluster::open(&around, cluster, &mut tasks).await?,
        };
        Self::serve(
            &config,
            drain,
            opened,
            Shared {
                metrics,
                namespaces,
                holds_default,
                tasks,
            },
        )
        .await
    }

    /// Opens the ports and starts the tasks that both sources have.
    async fn serve(
        config: &Config,
        drain: drain::Watch,
        opened: Opened,
        shared: Shared,
    ) -> anyhow::Result<Self> {
        let Shared {
            metrics,
            namespaces,
            holds_default,
            mut tasks,
        } = shared;
        let authority = opened.authority;
        let facts: SharedFacts = Arc::new(ArcSwap::from_pointee(Facts::default()));
        let (sets, sets_watch) = watch::channel(Arc::new(ResourceSet::default()));
        let (first, first_watch) = watch::channel(false);
        let readiness = Readiness::new();

        let xds = ambit_xds::Server::new(
            sets_watch.clone(),
            Arc::new(XdsAuthorizer {
                authority: authority.clone(),
                facts: facts.clone(),
            }),
            drain.clone(),
        );
        let ca = CaService {
            authority: authority.clone(),
            facts: facts.clone(),
            metrics: metrics.authority.clone(),
        };
        let names = tls::names(&config.namespace, &config.mesh);
        let port = TlsPort::bind(config.xds_addr, authority.clone(), names).await?;
        let xds_addr = port.local_addr();
        let web = admin::Server::bind(config.http_addr).await?;
        let http_addr = web.local_addr();

        let mut registry = Registry::default();
        metrics.register(&mut registry, &xds, &sets_watch, authority.signer.clone());
        let routes = http::routes(http::Context {
            authority,
            facts: facts.clone(),
            sets: sets_watch,
            xds: xds.clone(),
            registry: Arc::new(registry),
            readiness: readiness.clone(),
            mesh: config.mesh.clone(),
        });
        let index = IndexTask {
            source: opened.source,
            index: Index::new(config.mesh.clone()),
            executor: opened.executor,
            facts,
            namespaces,
            holds_default,
            sets,
            metrics,
            synced: readiness.gate("first batch"),
            first,
            rested: tokio::time::Instant::now(),
        };

        tasks.spawn("index", index.run(drain.clone()));
        let port_drain = drain.clone();
        let certified = readiness.gate("certificate of the xDS port");
        tasks.spawn("xds and ca", async move {
            if synced(first_watch, port_drain.clone()).await {
                port.serve_mesh((xds, ca), certified, port_drain).await;
            }
        });
        tasks.spawn("http", web.serve(routes, drain.clone()));
        tracing::info!(xds.addr = %xds_addr, http.addr = %http_addr, "controller started");
        Ok(Self {
            tasks,
            drain,
            xds_addr,
            http_addr,
            webhook_addr: opened.webhook_addr,
        })
    }

    /// Where xDS and the CA are served, once the first batch is there.
    pub fn xds_addr(&self) -> SocketAddr {
        self.xds_addr
    }

    /// Where metrics and debug are served.
    pub fn http_addr(&self) -> SocketAddr {
        self.http_addr
    }

    /// Where objects are judged; `None` with a directory.
    pub fn webhook_addr(&self) -> Option<SocketAddr> {
        self.webhook_addr
    }

    /// Runs until the drain is over.
    ///
    /// # Errors
    /// When a task ends before the drain.
    pub async fn finished(mut self) -> anyhow::Result<()> {
        let mut drain = self.drain.clone();
        let begun = tokio::select! {
            begun = drain.signalled() => begun,
            ended = self.tasks.next() => match ended {
                Some(ended) if drain.begun().is_none() => {
                    bail!("task `{}` ended: {:?}", ended.task, ended.end)
                }
                _ => drain.signalled().await,
            },
        };
        // HTTP, the last one, would stay until the deadline.
        while self.tasks.len() > 1 {
            tokio::select! {
                () = tokio::time::sleep_until(begun.deadline) => break,
                ended = self.tasks.next() => {
                    if let Some(Ended { task, end: End::Panicked(message) }) = ended {
                        bail!("task `{task}` panicked: {message}");
                    }
                },
            }
        }
        tracing::info!("controller drained");
        Ok(())
    }
}

/// What both sources need to be opened.
struct Around<'a> {
    config: &'a Config,
    drain: &'a drain::Watch,
    metrics: &'a Metrics,
    namespaces: Namespaces,
    /// Whether objects that name no revision are ours to write about.
    holds_default: watch::Receiver<bool>,
}

/// What is the same whatever the source.
struct Shared {
    metrics: Metrics,
    namespaces: watch::Sender<Arc<BTreeSet<String>>>,
    holds_default: watch::Sender<bool>,
    tasks: TaskGroup,
}

/// A source and what comes with it.
struct Opened {
    authority: Arc<Authority>,
    source: Watch,
    executor: Executor,
    webhook_addr: Option<SocketAddr>,
}

fn rules(config: &Config) -> Rules {
    Rules {
        trust_domain: config.mesh.trust_domain.clone(),
        trusted_node_accounts: config.node_accounts.clone(),
    }
}

fn settings(config: &Config) -> Settings {
    Settings {
        trust_domain: config.mesh.trust_domain.clone(),
        authority: config.authority,
    }
}

async fn directory(
    around: &Around<'_>,
    dir: &Path,
    jwks: &Path,
    ca_dir: &Path,
    tasks: &mut TaskGroup,
) -> anyhow::Result<Opened> {
    let (config, now) = (around.config, SystemTime::now());
    let (_, alone) = watch::channel(true);
    let (keeper, signer) = Keeper::open(
        Origin::Directory(ca_dir.to_owned()),
        Ledger::Directory(ca_dir.to_owned()),
        settings(config),
        alone,
        around.metrics.authority.clone(),
    )
    .await
    .context("cannot open the certificate authority")?;
    tasks.spawn("authority", keeper.run(around.drain.clone()));
    let keys = Authenticator::open(jwks, now).context("cannot open the token keys")?;
    let source = ambit_source::watch(dir);
    Ok(Opened {
        authority: Arc::new(Authority {
            signer,
            tokens: Tokens::Keys(keys),
            rules: rules(config),
        }),
        source: source.with_context(|| format!("cannot watch {}", dir.display()))?,
        executor: Executor::Directory(DirectoryWrites::new(Writer::new(dir, WRITER)?)),
        webhook_addr: None,
    })
}

/// Waits for the first batch; `false` when the drain comes before it.
async fn synced(mut first: watch::Receiver<bool>, mut drain: drain::Watch) -> bool {
    tokio::select! {
        _ = drain.signalled() => false,
        done = first.wait_for(|done| *done) => done.is_ok(),
    }
}
