//! Admin, metrics and readiness ports.
//! In: requests of operators, Prometheus and the kubelet. Out: what this process knows.
//! Must not: carry user traffic; be reachable from outside the pod (admin listens on loopback).

mod config_dump;
mod explain;

use crate::config::Config;
use crate::me::Me;
use crate::state::State;
use ambit_identity::SecretStore;
use ambit_runtime::admin::{BindError, Reply, Request, Routes, Server};
use ambit_runtime::causes::causes;
use ambit_runtime::drain::Trigger;
use ambit_runtime::metrics;
use ambit_runtime::readiness::Readiness;
use ambit_runtime::tasks::TaskGroup;
use ambit_telemetry::logging::Levels;
use http::StatusCode;
use prometheus_client::registry::Registry;
use std::sync::Arc;

/// What the ports show.
pub struct Ports {
    /// Log levels.
    pub levels: Levels,
    /// Gates.
    pub readiness: Readiness,
    /// Metrics.
    pub registry: Arc<Registry>,
    /// Routes and mesh.
    pub state: State,
    /// Our certificate.
    pub secrets: SecretStore,
    /// Who we are.
    pub me: Arc<Me>,
}

impl Ports {
    /// Binds and serves all three until the end of the drain. `/quitquitquit` gives the order to leave.
    ///
    /// # Errors
    /// A port is taken.
    pub async fn serve(
        self,
        config: &Config,
        (order, trigger): (&Trigger, &Trigger),
        tasks: &mut TaskGroup,
    ) -> Result<(), BindError> {
        let admin = Server::bind(config.listen.admin).await?;
        let scraped = Server::bind(config.listen.metrics).await?;
        let ready = Server::bind(config.listen.readiness).await?;
        let metrics = metrics::routes(Routes::new(), self.registry.clone());
        tasks.spawn("metrics", scraped.serve(metrics, trigger.watch()));
        let readiness = self.readiness.routes(Routes::new());
        tasks.spawn("readiness", ready.serve(readiness, trigger.watch()));
        let routes = self.admin(config, order.clone());
        tasks.spawn("admin", admin.serve(routes, trigger.watch()));
        Ok(())
    }

    fn admin(self, config: &Config, trigger: Trigger) -> Routes {
        let grace = config.termination_deadline;
        let gateway = config.gateway.clone();
        let Self {
            levels,
            state,
            secrets,
            me,
            ..
        } = self;
        let decides = state.clone();
        let quit = move |_| {
            trigger.start(grace);
            Reply::text("shutting down\n")
        };
        Routes::new()
            .get(
                "/config_dump",
                "everything this waypoint knows",
                move |_| {
                    let dump = config_dump::render(&gateway, &state.load(), &secrets.snapshot());
                    Reply::json(dump.to_string())
                },
            )
            .get(
                "/explain",
                "?to=IP:PORT&method=GET&path=/&header=NAME:VALUE…&identity=SPIFFE&client=IP: where a request would go, and why",
                move |request| explained(&me, &decides, &request),
            )
            .post(
                "/logging",
                "show (no arguments) or change log levels",
                move |request| change_levels(&levels, &request),
            )
            .post("/quitquitquit", "drain and stop", quit)
    }
}

fn explained(me: &Me, state: &State, request: &Request) -> Reply {
    let param = |name, default| {
        request
            .param(name)
            .filter(|v| !v.is_empty())
            .unwrap_or(default)
    };
    let headers = request.query.iter().filter(|(name, _)| name == "header");
    let headers: Vec<_> = headers.map(|(_, value)| value.as_str()).collect();
    let question = explain::Question {
        to: param("to", ""),
        identity: param("identity", ""),
        client: param("client", ""),
        method: param("method", "GET"),
        path: param("path", "/"),
        headers: &headers,
    };
    let answer = explain::explain((me, &state.load()), &question, &mut rand::rng());
    match answer {
        Ok(answer) => match serde_json::to_vec_pretty(&answer) {
            Ok(bytes) => Reply::json(bytes),
            Err(error) => Reply::error(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        },
        Err(error) => Reply::error(StatusCode::BAD_REQUEST, format!("{error}\n")),
    }
}

/// `?level=debug`, `?level=target=level,…`, `?reset`; without arguments it shows them.
fn change_levels(levels: &Levels, request: &Request) -> Reply {
    let changed = match (request.param("reset"), request.param("level")) {
        (Some(_), _) => levels.reset(),
        (None, Some(level)) => levels.set(level),
        (None, None) => Ok(()),
    };
    match changed {
        Ok(()) => Reply::text(format!("current log level is {}\n", levels.current())),
        Err(error) => Reply::error(StatusCode::BAD_REQUEST, causes(&error) + "\n"),
    }
}
