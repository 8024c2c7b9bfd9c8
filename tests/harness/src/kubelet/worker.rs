//! The life of one pod on its node.
//! In: the pod, its node, a stop token. Out: statuses on the way, nothing left at the end.
//! Owns: sandbox, containers, token file of this pod.
//! Spec: the Kubernetes pod lifecycle; a sandbox that fails is removed and tried again with a new one.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use k8s_openapi::api::core::v1::Pod;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::cluster::PodView;
use crate::process::Spec;
use crate::tokens::Subject;

use super::container::{self, State};
use super::image;
use super::node::Node;
use super::readiness::{self, Check};
use super::sandbox::Sandbox;
use super::status::{Phase, PodState};
use super::token_file;

/// Pause before a failed sandbox is tried again: first and longest.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));
/// Longest grace period a lab waits for, whatever the pod asks.
const GRACE: Duration = Duration::from_secs(30);

/// Runs `pod` until `stop`.
pub async fn run(node: Arc<Node>, pod: Arc<Pod>, stop: CancellationToken) {
    let view = PodView(&pod);
    info!(pod = %view.name(), namespace = %view.namespace(), node = %node.name, "pod starts");
    let mut state = PodState::default();
    node.statuses.write(view, &state);
    if let Some(mut sandbox) = sandbox(&node, &pod, &mut state, &stop).await {
        let mut tasks = JoinSet::new();
        match prepare(&node, &pod, &sandbox, &mut tasks) {
            Ok(specs) => live(&node, &pod, specs, &sandbox, &stop).await,
            Err(message) => {
                state.message = message;
                node.statuses.write(view, &state);
                stop.cancelled().await;
            }
        }
        tasks.shutdown().await;
        sandbox.remove(&node).await;
    }
    let _ = std::fs::remove_file(token_path(&node, view));
    node.statuses.remove(view);
    info!(pod = %view.name(), namespace = %view.namespace(), node = %node.name, "pod gone");
}

/// Tries until there is a sandbox; `None` when stopped before.
async fn sandbox(
    node: &Node,
    pod: &Pod,
    state: &mut PodState,
    stop: &CancellationToken,
) -> Option<Sandbox> {
    let view = PodView(pod);
    let mut pause = BACKOFF.0;
    for attempt in 0.. {
        if stop.is_cancelled() {
            return None;
        }
        match Sandbox::create(node, view, attempt).await {
            Ok(sandbox) => {
                state.addresses.clone_from(&sandbox.addresses);
                node.statuses
                    .placed(view, &sandbox.place, &token_path(node, view));
                return Some(sandbox);
            }
            Err(error) => {
                warn!(pod = %view.name(), error = &error as &dyn std::error::Error, "no sandbox");
                state.message = format!("FailedCreatePodSandBox: {}", chain(&error));
                node.statuses.write(view, state);
            }
        }
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return None,
        }
        pause = (pause * 2).min(BACKOFF.1);
    }
    None
}

/// Token, images, environment. The error is the pod's status message.
fn prepare(
    node: &Arc<Node>,
    pod: &Pod,
    sandbox: &Sandbox,
    tasks: &mut JoinSet<()>,
) -> Result<Vec<Spec>, String> {
    let view = PodView(pod);
    let subject = Subject {
        namespace: view.namespace().to_owned(),
        service_account: view.service_account().to_owned(),
        pod: view.name().to_owned(),
        pod_uid: view.uid(),
        node: node.name.clone(),
    };
    let token = token_path(node, view);
    token_file::write(&node.issuer, &subject, &token, node.token_lifetime)
        .map_err(|e| chain(&e))?;
    tasks.spawn(token_file::keep(
        node.issuer.clone(),
        subject,
        token.clone(),
        node.token_lifetime,
    ));
    let containers = view.spec().map(|spec| spec.containers.iter());
    containers
        .into_iter()
        .flatten()
        .map(|container| {
            let run = node
                .images
                .resolve(container)
                .map_err(|error| error.to_string())?;
            let own = image::environment(view, container, &sandbox.addresses);
            let mut env = if run.mesh {
                mesh_environment(node, view, &token)
            } else {
                Vec::new()
            };
            env.retain(|(name, _)| own.iter().all(|(other, _)| other != name));
            let log = node.logs.join(format!(
                "{}_{}_{}.log",
                view.namespace(),
                view.name(),
                container.name
            ));
            Ok(Spec::new(run.program, run.args)
                .env(env)
                .env(own)
                .at(sandbox.place.clone())
                .log(log))
        })
        .collect()
}

/// What a proxy of the mesh finds in its environment, as upstream's injector sets it.
fn mesh_environment(
    node: &Node,
    pod: PodView<'_>,
    token: &std::path::Path,
) -> Vec<(String, String)> {
    let mut env = node.mesh_env.clone();
    let mut set = |name: &str, value: String| env.push((name.to_owned(), value));
    set("AUTH_TOKEN", token.display().to_string());
    set("NODE_NAME", node.name.clone());
    set("POD_NAME", pod.name().to_owned());
    set("POD_NAMESPACE", pod.namespace().to_owned());
    set("SERVICE_ACCOUNT", pod.service_account().to_owned());
    if let Some(gateway) = pod.label(ambit_api::labels::GATEWAY_NAME) {
        set("GATEWAY", format!("{}/{gateway}", pod.namespace()));
    }
    env
}

/// Runs the containers and keeps the status true until `stop`.
async fn live(
    node: &Arc<Node>,
    pod: &Pod,
    specs: Vec<Spec>,
    sandbox: &Sandbox,
    stop: &CancellationToken,
) {
    let view = PodView(pod);
    let asked = view.spec().and_then(|s| s.termination_grace_period_seconds);
    let grace = asked
        .and_then(|s| u64::try_from(s).ok())
        .map_or(GRACE, Duration::from_secs)
        .min(GRACE);
    let mut containers = JoinSet::new();
    let mut states = Vec::new();
    for spec in specs {
        let (sender, receiver) = watch::channel(State::default());
        states.push(receiver);
        containers.spawn(container::run(
            node.spawner.clone(),
            spec,
            sender,
            stop.clone(),
            grace,
        ));
    }
    let mut checks = readiness::checks(pod, &sandbox.addresses);
    let mut probes: FuturesUnordered<_> = (0..checks.len())
        .map(|index| probe(node, index, &checks[index], Duration::ZERO))
        .collect();
    loop {
        let shown = state(&states, &checks, sandbox);
        node.statuses.write(view, &shown);
        let changed = changed(&mut states);
        tokio::select! {
            () = stop.cancelled() => break,
            () = changed => {}
            Some((index, result)) = probes.next() => {
                checks[index].result(result);
                probes.push(probe(node, index, &checks[index], checks[index].pause()));
            }
        }
    }
    while containers.join_next().await.is_some() {}
}

fn probe(
    node: &Arc<Node>,
    index: usize,
    check: &Check,
    pause: Duration,
) -> impl Future<Output = (usize, Result<(), String>)> + use<> {
    let (node, probe) = (node.clone(), check.probe.clone());
    async move {
        tokio::time::sleep(pause).await;
        (index, node.prober.probe(probe).await)
    }
}

/// Waits until any container's state changes.
async fn changed(states: &mut [watch::Receiver<State>]) {
    let mut any: FuturesUnordered<_> = states.iter_mut().map(|s| s.changed()).collect();
    while let Some(change) = any.next().await {
        // An error: that container's task has ended.
        if change.is_ok() {
            return;
        }
    }
    std::future::pending().await
}

fn state(states: &[watch::Receiver<State>], checks: &[Check], sandbox: &Sandbox) -> PodState {
    let states: Vec<State> = states.iter().map(|s| s.borrow().clone()).collect();
    let stopped = states.iter().find(|s| s.pid.is_none());
    let unready = checks.iter().find_map(|check| check.ready().err());
    let message = match (stopped, unready) {
        (Some(stopped), _) if stopped.message.is_empty() => "ContainerCreating".to_owned(),
        (Some(stopped), _) => format!("container ended: {}", stopped.message),
        (None, Some(unready)) => unready,
        (None, None) => String::new(),
    };
    PodState {
        phase: if states.iter().any(|s| s.pid.is_some()) {
            Phase::Running
        } else {
            Phase::Pending
        },
        addresses: sandbox.addresses.clone(),
        ready: stopped.is_none() && checks.iter().all(|check| check.ready().is_ok()),
        pids: states.iter().filter_map(|s| s.pid).collect(),
        restarts: states.iter().map(|s| s.restarts).sum(),
        message,
    }
}

fn token_path(node: &Node, pod: PodView<'_>) -> std::path::PathBuf {
    node.dir.join(format!("{}.token", pod.uid()))
}

/// An error and its sources in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(&format!(": {source}"));
        next = source.source();
    }
    text
}
