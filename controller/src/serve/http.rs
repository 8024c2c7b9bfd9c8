//! Port 15014: metrics, readiness and version for all; debug from loopback or with a token of the
//! root namespace.

use super::{Authority, debug};
use crate::facts::SharedFacts;
use ::http::{Method, StatusCode};
use ambit_index::MeshConfig;
use ambit_runtime::admin::{Reply, Request, Routes};
use ambit_runtime::causes::causes;
use ambit_runtime::readiness::Readiness;
use ambit_runtime::{build_info, metrics};
use ambit_xds::ResourceSet;
use prometheus_client::registry::Registry;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::watch;

/// What the answers are made of.
pub(crate) struct Context {
    pub(crate) authority: Arc<Authority>,
    pub(crate) facts: SharedFacts,
    pub(crate) sets: watch::Receiver<Arc<ResourceSet>>,
    pub(crate) xds: ambit_xds::Server,
    pub(crate) registry: Arc<Registry>,
    pub(crate) readiness: Readiness,
    pub(crate) mesh: MeshConfig,
}

/// All routes of the port.
pub(crate) fn routes(context: Context) -> Routes {
    let routes = metrics::routes(Routes::new(), context.registry.clone());
    let routes = context.readiness.routes(routes);
    let routes = routes.get("/version", "version", |_| {
        Reply::json(format!("{{\"version\":\"{}\"}}\n", build_info::VERSION))
    });
    let context = Arc::new(context);
    let guarded = |routes: Routes, path: &str, about, answer: fn(&Context) -> Reply| {
        let context = context.clone();
        routes.on(Method::GET, path, about, move |request| {
            let context = context.clone();
            async move {
                match allowed(&context, &request).await {
                    true => answer(&context),
                    false => Reply::error(StatusCode::FORBIDDEN, "forbidden\n"),
                }
            }
        })
    };
    let routes = guarded(routes, "/debug/syncz", "what each proxy has", debug::syncz);
    let routes = guarded(
        routes,
        "/debug/connections",
        "live streams",
        debug::connections,
    );
    let routes = guarded(
        routes,
        "/debug/authority",
        "what certificates are signed with",
        debug::authority,
    );
    let routes = guarded(routes, "/debug/configz", "objects in use", debug::configz);
    let routes = guarded(
        routes,
        "/debug/ambientz",
        "workloads, services, policies",
        debug::ambientz,
    );
    guarded(
        routes,
        "/debug/resourcez",
        "resources by type",
        debug::resourcez,
    )
}

async fn allowed(context: &Context, request: &Request) -> bool {
    if request.peer.ip().to_canonical().is_loopback() {
        return true;
    }
    let Some(header) = request.bearer().map(|token| format!("Bearer {token}")) else {
        return false;
    };
    let tokens = &context.authority.tokens;
    match tokens.caller(Some(&header), SystemTime::now()).await {
        Ok(caller) => caller.service_account.namespace == context.mesh.root_namespace,
        Err(error) => {
            let error = causes(&error);
            tracing::debug!(src.addr = %request.peer, %error, "debug refused");
            false
        }
    }
}
