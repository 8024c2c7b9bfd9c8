//! The one place that wires tasks: index, TLS port, HTTP port.

use crate::config::Config;
use crate::facts::{Facts, SharedFacts};
use crate::metrics::Metrics;
use crate::serve::ca::CaService;
use crate::serve::tls::TlsPort;
use crate::serve::xds::XdsAuthorizer;
use crate::serve::{Authority, http};
use crate::watch::IndexTask;
use crate::write::Executor;
use ambit_ca::auth::Authenticator;
use ambit_ca::authority;
use ambit_ca::authorize::Rules;
use ambit_index::Index;
use ambit_runtime::readiness::Readiness;
use ambit_runtime::tasks::{End, Ended, TaskGroup};
use ambit_runtime::{admin, drain};
use ambit_source::Writer;
use ambit_xds::ResourceSet;
use anyhow::{Context, bail};
use arc_swap::ArcSwap;
use prometheus_client::registry::Registry;
use std::net::SocketAddr;
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
}

impl App {
    /// Opens everything and starts all tasks.
    ///
    /// # Errors
    /// What cannot be opened, with its causes.
    pub async fn start(config: Config, drain: drain::Watch) -> anyhow::Result<Self> {
        let now = SystemTime::now();
        let trust_domain = config.mesh.trust_domain.as_str();
        let opened =
            authority::Authority::open(&config.ca_dir, trust_domain, config.lifetimes, now);
        let rules = Rules {
            trust_domain: trust_domain.to_owned(),
            trusted_node_accounts: config.node_accounts.clone(),
        };
        let authority = Arc::new(Authority {
            signer: opened.context("cannot open the certificate authority")?,
            authenticator: Authenticator::open(&config.jwks, now)
                .context("cannot open the token keys")?,
            rules,
        });
        let facts: SharedFacts = Arc::new(ArcSwap::from_pointee(Facts::default()));
        let (sets, sets_watch) = watch::channel(Arc::new(ResourceSet::default()));
        let (first, first_watch) = watch::channel(false);
        let metrics = Metrics::default();
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
            metrics: metrics.clone(),
        };
        let port = TlsPort::bind(config.xds_addr, authority.clone()).await?;
        let xds_addr = port.local_addr();
        let web = admin::Server::bind(config.http_addr).await?;
        let http_addr = web.local_addr();

        let mut registry = Registry::default();
        metrics.register(&mut registry, &xds, &sets_watch);
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
            source: ambit_source::watch(&config.source_dir)
                .with_context(|| format!("cannot watch {}", config.source_dir.display()))?,
            index: Index::new(config.mesh.clone()),
            executor: Executor::new(Writer::new(&config.source_dir, WRITER)?),
            facts,
            sets,
            metrics,
            synced: readiness.gate("first batch"),
            first,
        };

        let mut tasks = TaskGroup::new("controller");
        tasks.spawn("index", index.run(drain.clone()));
        let port_drain = drain.clone();
        tasks.spawn("xds and ca", async move {
            if synced(first_watch, port_drain.clone()).await {
                port.serve(xds, ca, port_drain).await;
            }
        });
        tasks.spawn("http", web.serve(routes, drain.clone()));
        tracing::info!(xds.addr = %xds_addr, http.addr = %http_addr, "controller started");
        Ok(Self {
            tasks,
            drain,
            xds_addr,
            http_addr,
        })
    }

    /// Where xDS and the CA are served, once the directory has been read.
    pub fn xds_addr(&self) -> SocketAddr {
        self.xds_addr
    }

    /// Where metrics and debug are served.
    pub fn http_addr(&self) -> SocketAddr {
        self.http_addr
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

/// Waits for the first batch; `false` when the drain comes before it.
async fn synced(mut first: watch::Receiver<bool>, mut drain: drain::Watch) -> bool {
    tokio::select! {
        _ = drain.signalled() => false,
        done = first.wait_for(|done| *done) => done.is_ok(),
    }
}
