//! Admin, metrics and readiness ports.
//! In: requests of operators, `istioctl`, Prometheus and the kubelet. Out: what this process knows.
//! Must not: carry user traffic; be reachable from outside the node (admin listens on loopback).
//! Spec: ztunnel's admin interface.

pub mod config_dump;
pub mod explain;
mod log_levels;

use crate::pod::Pod;
use crate::thread::{ConnectionView, WorkerHandle};
use crate::worker::Shared;
use ambit_runtime::admin::{BindError, Reply, Request, Routes, Server};
use ambit_runtime::drain::Trigger;
use ambit_runtime::metrics;
use ambit_runtime::readiness::Readiness;
use ambit_runtime::tasks::TaskGroup;
use ambit_telemetry::logging::Levels;
use http::Method;
use prometheus_client::registry::Registry;
use std::sync::Arc;
use tokio::sync::watch;

/// What the ports show.
pub struct Ports {
    /// Log levels.
    pub levels: Levels,
    /// Gates.
    pub readiness: Readiness,
    /// Metrics.
    pub registry: Arc<Registry>,
    /// For live connections.
    pub workers: Vec<WorkerHandle>,
    /// Pods served.
    pub pods: watch::Receiver<Vec<Arc<Pod>>>,
}

impl Ports {
    /// Binds and serves all three until the end of the drain.
    ///
    /// # Errors
    /// A port is taken.
    pub async fn serve(
        self,
        shared: &Arc<Shared>,
        trigger: &Trigger,
        tasks: &mut TaskGroup,
    ) -> Result<(), BindError> {
        let addresses = shared.config.ports;
        let admin = Server::bind(addresses.admin).await?;
        let scraped = Server::bind(addresses.metrics).await?;
        let ready = Server::bind(addresses.readiness).await?;
        let metrics = metrics::routes(Routes::new(), self.registry.clone());
        tasks.spawn("metrics", scraped.serve(metrics, trigger.watch()));
        let readiness = self.readiness.routes(Routes::new());
        tasks.spawn("readiness", ready.serve(readiness, trigger.watch()));
        let routes = self.admin(shared.clone(), trigger.clone());
        tasks.spawn("admin", admin.serve(routes, trigger.watch()));
        Ok(())
    }

    fn admin(self, shared: Arc<Shared>, trigger: Trigger) -> Routes {
        let grace = shared.config.termination_deadline;
        let Self {
            levels,
            workers,
            pods,
            ..
        } = self;
        let live = workers.clone();
        let decides = shared.clone();
        let quit = move |_| {
            trigger.start(grace);
            Reply::text("shutting down\n")
        };
        Routes::new()
            .on(
                Method::GET,
                "/config_dump",
                "everything this proxy knows",
                move |_| {
                    let (shared, workers, pods) = (shared.clone(), workers.clone(), pods.clone());
                    async move {
                        let live = connections(&workers).await;
                        let pods = pods.borrow().clone();
                        Reply::json(config_dump::render(&shared, &pods, &live).to_string())
                    }
                },
            )
            .on(Method::GET, "/connections", "live connections", move |_| {
                let workers = live.clone();
                async move { json(&connections(&workers).await) }
            })
            .get(
                "/explain",
                "?namespace=NS&pod=POD&to=HOST:PORT: where a connection would go, and why",
                move |request| explained(&decides, &request),
            )
            .post(
                "/logging",
                "?level=LEVEL or ?level=TARGET=LEVEL,… or ?reset",
                move |request| log_levels::change(&levels, &request),
            )
            .post("/quitquitquit", "drain and exit", quit)
    }
}

fn explained(shared: &Shared, request: &Request) -> Reply {
    let param = |name| request.param(name).unwrap_or_default();
    let question = explain::Question {
        namespace: param("namespace"),
        pod: param("pod"),
        to: param("to"),
        domain: &shared.config.node.cluster_domain,
    };
    match explain::explain(&shared.state.load(), &question) {
        Ok(answer) => json(&answer),
        Err(error) => Reply::error(http::StatusCode::NOT_FOUND, format!("{error}\n")),
    }
}

async fn connections(workers: &[WorkerHandle]) -> Vec<ConnectionView> {
    let mut all = Vec::new();
    for worker in workers {
        all.extend(worker.connections().await);
    }
    all
}

fn json(value: &impl serde::Serialize) -> Reply {
    match serde_json::to_vec_pretty(value) {
        Ok(bytes) => Reply::json(bytes),
        Err(error) => Reply::error(
            http::StatusCode::INTERNAL_SERVER_ERROR,
            format!("{error}\n"),
        ),
    }
}
