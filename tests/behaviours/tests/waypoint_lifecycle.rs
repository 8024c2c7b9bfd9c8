//! Waypoints that are not there yet, go away, come back, drain: decisions.md section 3 as sentences.

#[path = "waypoint_lifecycle/canary.rs"]
mod canary;
#[path = "waypoint_lifecycle/identity.rs"]
mod identity;
#[path = "waypoint_lifecycle/names.rs"]
mod names;
#[path = "routing/stage.rs"]
mod stage;

use ambit_harness::client::HttpSummary;
use ambit_harness::demo::Scene;
use ambit_harness::demo::scene::BOOKINFO;
use ambit_harness::lab::{Daemon, DaemonKind, finish};
use ambit_harness::names::NodeNumber;
use ambit_harness::process::Process;
use ambit_harness::until;
use anyhow::{Context, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use stage::{REVIEWS, SOON, Stage, VERSION, all_to};
use std::sync::Arc;

/// Line of the sample beside which a Service's label goes.
const LABELS: &str = "    app: reviews\n    service: reviews\n";
/// The file of the Gateway.
const GATEWAY: &str = "reviews-waypoint";
/// Header that the rules of these tests put on every answer that went through the waypoint.
const THROUGH: &str = "x-through";

/// An `http` entry to `version` that marks its answers.
fn marked(version: &str) -> String {
    let http = all_to(version);
    format!("{http}      headers: {{response: {{set: {{{THROUGH}: waypoint}}}}}}\n")
}

/// Part of the path of every request of [`ask`], to be looked for on the link between the nodes.
const MARKER: &str = "seen-in-plain";

async fn ask(stage: &Stage, n: u64) -> Result<HttpSummary> {
    let (n, url) = (n.to_string(), format!("{REVIEWS}/echo/{MARKER}"));
    let headers = ["--count-header", VERSION, "--count-header", THROUGH];
    stage
        .client(&[&["-n", &n][..], &headers, &[&url]].concat())
        .await
}

/// Connections that pods of reviews have accepted by HBONE from anybody, on both nodes.
async fn reached(stage: &Stage) -> Result<f64> {
    let mut sum = 0.0;
    for node in [1, 2] {
        let scrape = stage.lab.ztunnel_metrics(NodeNumber::new(node)).await?;
        for workload in ["reviews-v1", "reviews-v2", "reviews-v3"] {
            let labels = [
                ("reporter", "destination"),
                ("destination_workload", workload),
            ];
            sum += scrape.sum("istio_tcp_connections_opened_total", &labels);
        }
    }
    Ok(sum)
}

/// Asks for one answer after the other until it is told to end.
async fn load(stage: &Stage) -> Result<Process> {
    let url = format!("{REVIEWS}/echo");
    let command = [
        "bookinfo",
        "client",
        "--until-signal",
        "-c",
        "4",
        "--interval-ms",
        "10",
        "--timeout-ms",
        "5000",
        "--count-header",
        THROUGH,
        &url,
    ];
    Ok(stage.lab.start_in(BOOKINFO, "client", command).await?)
}

async fn end(load: Process) -> Result<HttpSummary> {
    load.signal(Signal::SIGTERM);
    Ok(finish(load).await?.summary()?)
}

fn controller(stage: &Stage) -> Result<&Arc<Daemon>> {
    let daemon = stage.lab.daemon(DaemonKind::Controller);
    daemon.context("no controller")
}

/// The waypoint's process.
fn process(stage: &Stage) -> Result<Pid> {
    let (name, pod) = stage.waypoint()?;
    let pid = pod
        .state
        .pids
        .first()
        .with_context(|| format!("{name} has no process"))?;
    Ok(Pid::from_raw(*pid))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_that_names_no_gateway_leaves_traffic_at_l4_and_is_told_so() -> Result<()> {
    let Some(stage) = Stage::without_waypoint("bogus").await? else {
        return Ok(());
    };
    let label = format!("{LABELS}    istio.io/use-waypoint: nobody\n");
    stage.lab.edit("bookinfo", LABELS, &label)?;
    let words = [
        "istio.io/WaypointBound",
        "\"False\"",
        "WaypointIsNotReady",
        "bookinfo/nobody does not exist",
    ];
    stage.status_has("Service", "reviews", &words).await?;
    let before = reached(&stage).await?;
    let answers = ask(&stage, 30).await?;
    ensure!(answers.ok() == 30, "{answers:?}");
    let all = ["v1", "v2", "v3"]
        .iter()
        .all(|v| answers.header(VERSION, v) > 0);
    ensure!(all, "as the Service balances: {answers:?}");
    until("30 connections by HBONE", SOON, || async {
        match reached(&stage).await {
            Ok(now) if now - before == 30.0 => Ok(()),
            other => Err(format!("{before} {other:?}")),
        }
    })
    .await?;
    stage.lab.down().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_namespace_requires_its_waypoint_nothing_flows_until_it_is_ready() -> Result<()> {
    let Some(stage) = Stage::without_waypoint("required").await? else {
        return Ok(());
    };
    let app = "    app: bookinfo\n";
    let required = format!("{app}    ambit.io/require-waypoint: \"true\"\n");
    stage.lab.edit("namespace", app, &required)?;
    let label = format!("{LABELS}    istio.io/use-waypoint: reviews-waypoint\n");
    stage.lab.edit("bookinfo", LABELS, &label)?;
    stage
        .status_has("Service", "reviews", &["WaypointIsNotReady"])
        .await?;
    until("refused", SOON, || async {
        match ask(&stage, 1).await {
            Ok(answer) if answer.statuses.is_empty() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    let (before, capture) = (reached(&stage).await?, stage.lab.capture(MARKER)?);
    let answers = ask(&stage, 20).await?;
    ensure!(
        answers.statuses.is_empty() && answers.errors.values().sum::<u64>() == 20,
        "{answers:?}"
    );
    let (after, seen) = (reached(&stage).await?, capture.seen());
    ensure!(
        after == before && seen.marker == 0,
        "{before} {after} {seen:?}"
    );
    drop(capture);
    // Other services of the namespace are not concerned.
    let details = stage
        .client(&["-n", "5", "http://details:9080/details/0"])
        .await?;
    ensure!(details.ok() == 5, "{details:?}");
    let scene = Scene::new(&stage.lab);
    scene.apply(&[
        "networking/reviews-waypoint.yaml",
        "networking/destination-rule-reviews.yaml",
    ])?;
    stage.rules("ready", &marked("v2")).await?;
    let answers = ask(&stage, 20).await?;
    ensure!(answers.header(THROUGH, "waypoint") == 20, "{answers:?}");
    stage.lab.down().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_gateway_deleted_requests_are_refused_until_it_is_back() -> Result<()> {
    let Some(stage) = Stage::up("gone").await? else {
        return Ok(());
    };
    stage.rules("before", &marked("v2")).await?;
    let load = load(&stage).await?;
    stage.lab.remove(GATEWAY)?;
    stage
        .status_has("Service", "reviews", &["WaypointIsGone"])
        .await?;
    until("no waypoint pod", SOON, || async {
        stage.waypoint().map_or(Ok(()), |(name, _)| Err(name))
    })
    .await?;
    let (before, capture) = (reached(&stage).await?, stage.lab.capture(MARKER)?);
    let answers = ask(&stage, 20).await?;
    ensure!(
        answers.statuses.is_empty() && answers.errors.values().sum::<u64>() == 20,
        "{answers:?}"
    );
    let (after, seen) = (reached(&stage).await?, capture.seen());
    ensure!(
        after == before && seen.marker == 0,
        "{before} {after} {seen:?}"
    );
    // A controller that starts now has never seen the waypoint, and knows all the same.
    let controller = controller(&stage)?;
    controller.kill().await;
    controller.start().await?;
    stage.lab.daemon_ready(controller).await?;
    let rule = stage::virtual_service("new", &marked("v3")).replace("name: reviews,", "name: new,");
    stage.lab.apply("new", &rule)?;
    stage
        .status_has("VirtualService", "new", &["NoWaypoint"])
        .await?;
    stage
        .status_has("Service", "reviews", &["WaypointIsGone"])
        .await?;
    stage.lab.remove("new")?;
    let answers = ask(&stage, 20).await?;
    ensure!(answers.statuses.is_empty(), "{answers:?}");
    let (after, seen) = (reached(&stage).await?, capture.seen());
    ensure!(
        after == before && seen.marker == 0,
        "{before} {after} {seen:?}"
    );
    drop(capture);
    Scene::new(&stage.lab).apply(&["networking/reviews-waypoint.yaml"])?;
    until("requests go through again", SOON, || async {
        match ask(&stage, 1).await {
            Ok(answer) if answer.header(THROUGH, "waypoint") == 1 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    let answers = end(load).await?;
    let through = answers.header(THROUGH, "waypoint");
    ensure!(
        through > 0 && through == answers.ok(),
        "never around the waypoint: {answers:?}"
    );
    let answers = ask(&stage, 20).await?;
    ensure!(answers.header(VERSION, "v2") == 20, "{answers:?}");
    stage.lab.down().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_waypoint_killed_nothing_goes_around_it_and_it_serves_again() -> Result<()> {
    let Some(stage) = Stage::up("killed").await? else {
        return Ok(());
    };
    stage.rules("before", &marked("v2")).await?;
    let load = load(&stage).await?;
    let restarts = stage.waypoint()?.1.state.restarts;
    kill(process(&stage)?, Signal::SIGKILL)?;
    serves_again(&stage, restarts).await?;
    let answers = end(load).await?;
    let through = answers.header(THROUGH, "waypoint");
    ensure!(
        through > 0 && through == answers.ok(),
        "never around the waypoint: {answers:?}"
    );
    ensure!(!answers.errors.is_empty(), "it was away: {answers:?}");
    let answers = ask(&stage, 20).await?;
    ensure!(answers.header(VERSION, "v2") == 20, "{answers:?}");
    stage.lab.down().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waypoint_told_to_end_finishes_the_requests_it_has() -> Result<()> {
    let Some(stage) = Stage::up("drain").await? else {
        return Ok(());
    };
    stage.rules("drain", &marked("v1")).await?;
    let url = format!("{REVIEWS}/echo?ms=3000&count=draining");
    let command = [
        "bookinfo",
        "client",
        "-n",
        "20",
        "-c",
        "20",
        "--count-header",
        THROUGH,
        &url,
    ];
    let held = stage.lab.start_in(BOOKINFO, "client", command).await?;
    until("20 requests in flight", SOON, || async {
        match stage.counted("v1", "draining").await {
            Ok(20) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    let restarts = stage.waypoint()?.1.state.restarts;
    kill(process(&stage)?, Signal::SIGTERM)?;
    let answers: HttpSummary = finish(held).await?.summary()?;
    ensure!(
        answers.ok() == 20 && answers.header(THROUGH, "waypoint") == 20,
        "{answers:?}"
    );
    // It has ended by itself, and the next one serves.
    serves_again(&stage, restarts).await?;
    stage.lab.down().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_controller_a_waypoint_routes_on_and_follows_again_afterwards() -> Result<()> {
    let Some(stage) = Stage::up("headless").await? else {
        return Ok(());
    };
    stage.rules("before", &marked("v2")).await?;
    let controller = controller(&stage)?;
    controller.kill().await;
    let answers = ask(&stage, 50).await?;
    ensure!(answers.header(VERSION, "v2") == 50, "{answers:?}");
    // What is written meanwhile waits.
    stage.rules_document(&stage::virtual_service("after", &marked("v3")))?;
    let answers = ask(&stage, 50).await?;
    ensure!(answers.header(VERSION, "v2") == 50, "{answers:?}");
    controller.start().await?;
    stage.lab.daemon_ready(controller).await?;
    stage.in_force("after").await?;
    let answers = ask(&stage, 50).await?;
    ensure!(answers.header(VERSION, "v3") == 50, "{answers:?}");
    stage.lab.down().await;
    Ok(())
}

/// Waits until the waypoint was started more often than `restarts`, and requests go through it.
async fn serves_again(stage: &Stage, restarts: u32) -> Result<()> {
    until("started again and ready", SOON, || async {
        match stage.waypoint() {
            Ok((_, pod)) if pod.state.restarts > restarts && pod.state.ready => Ok(()),
            other => Err(other.map(|(_, pod)| pod.state)),
        }
    })
    .await?;
    until("requests go through again", SOON, || async {
        match ask(stage, 1).await {
            Ok(answer) if answer.header(THROUGH, "waypoint") == 1 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    Ok(())
}
