//! What happens when a part of a node is away: ARCHITECTURE.md, "When something is missing".

use ambit_behaviours::town::{ECHO, OUTSIDE, SOON, TOWN, Town, node, town};
use ambit_harness::client::TcpSummary;
use ambit_harness::lab::{DaemonKind, finish};
use ambit_harness::{netns, until};
use anyhow::{Context, Result, ensure};

const OPENED: &str = "istio_tcp_connections_opened_total";
const MANY: usize = 200;
/// How the destination's proxy counts connections of the client that came by mutual TLS.
const FROM_CLIENT: [(&str, &str); 3] = [
    ("reporter", "destination"),
    (
        "source_principal",
        "spiffe://cluster.local/ns/town/sa/client",
    ),
    ("connection_security_policy", "mutual_tls"),
];

/// Starts [`MANY`] connections while the client's proxy is away, brings it back and checks each.
async fn queued_connections_complete(town: &Town) -> Result<()> {
    let before = town.counted(2, OPENED, &FROM_CLIENT).await?;
    town.kill(DaemonKind::Ztunnel(node(1))).await?;
    let (to, many) = (ECHO.to_string(), MANY.to_string());
    let command = ["bookinfo", "tcp", &to, "-n", &many, "--timeout-ms", "90000"];
    let client = town.lab.start_in(TOWN, "client", command).await?;
    // The kernel completes their handshakes into the listeners' queues, which the agent keeps.
    let place = town.lab.place(TOWN, "client")?;
    let path = place.netns.context("the client has a namespace")?;
    until("all connections queued", SOON, || async {
        let queued = netns::inside_async(&path, || established(ECHO.port())).await;
        match queued {
            Ok(n) if n >= MANY => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    town.start(DaemonKind::Ztunnel(node(1))).await?;
    let summary: TcpSummary = finish(client).await?.summary()?;
    ensure!(summary.completed == MANY, "{summary:?}");
    ensure!(
        summary.pods.get("echo") == Some(&MANY),
        "right destination: {summary:?}"
    );
    town.grows(2, (OPENED, &FROM_CLIENT), before, MANY as f64)
        .await
}

/// Established sockets of this namespace whose peer has `port`, from `/proc/net/tcp`.
fn established(port: u16) -> usize {
    let text = std::fs::read_to_string("/proc/thread-self/net/tcp").unwrap_or_default();
    let suffix = format!(":{port:04X}");
    text.lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip(2);
            Some((words.next()?, words.next()?))
        })
        .filter(|(peer, state)| peer.ends_with(&suffix) && *state == "01")
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_started_while_ztunnel_is_dead_complete_when_it_is_back() -> Result<()> {
    let Some(town) = town().await? else {
        return Ok(());
    };
    queued_connections_complete(&town).await?;
    town.lab.down().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn they_also_complete_when_the_agent_was_killed_and_restarted_before() -> Result<()> {
    let Some(town) = town().await? else {
        return Ok(());
    };
    town.kill(DaemonKind::Agent(node(1))).await?;
    town.start(DaemonKind::Agent(node(1))).await?;
    queued_connections_complete(&town).await?;
    town.lab.down().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn running_pods_do_not_notice_that_the_agent_is_dead() -> Result<()> {
    let Some(town) = town().await? else {
        return Ok(());
    };
    let before = town.counted(2, OPENED, &FROM_CLIENT).await?;
    town.kill(DaemonKind::Agent(node(1))).await?;
    town.kill(DaemonKind::Agent(node(2))).await?;
    let summary = town.connections(MANY).await?;
    ensure!(summary.completed == MANY, "{summary:?}");
    town.grows(2, (OPENED, &FROM_CLIENT), before, MANY as f64)
        .await?;
    town.lab.down().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_agent_and_ztunnel_connections_are_refused_and_never_plain() -> Result<()> {
    let Some(town) = town().await? else {
        return Ok(());
    };
    town.kill(DaemonKind::Agent(node(1))).await?;
    town.kill(DaemonKind::Ztunnel(node(1))).await?;
    let marker = "refused-rather-than-plain";
    let capture = town.lab.capture(marker)?;
    let summary = town.connections(20).await?;
    ensure!(summary.connected == 0, "{summary:?}");
    let refused = summary.errors.keys().all(|e| e.contains("refused"));
    ensure!(refused, "refused at once: {summary:?}");
    let seen = capture.seen();
    ensure!(seen.marker == 0 && seen.hbone_bytes == 0, "{seen:?}");
    // Inbound as well: the server's pod on the node that is dead.
    let near = town.address(TOWN, "near")?;
    let summary = town
        .lab
        .tcp(OUTSIDE, "outsider", near, &["--timeout-ms", "3000"])
        .await?;
    ensure!(summary.connected == 0, "{summary:?}");
    town.lab.down().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_mesh_pod_waits_for_the_agent_and_an_outside_pod_does_not() -> Result<()> {
    let Some(town) = town().await? else {
        return Ok(());
    };
    town.kill(DaemonKind::Agent(node(1))).await?;
    let pod = |name: &str, namespace: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: {namespace}}}\nspec:\n  nodeName: node-1\n  terminationGracePeriodSeconds: 1\n  containers: [{{name: tools, image: ambit/tools, command: [sleep, infinity]}}]\n"
        )
    };
    town.lab.apply("late", &pod("late", TOWN))?;
    town.lab.apply("free", &pod("free", OUTSIDE))?;
    let ready = |namespace: &str, name: &str| {
        let pods = town.lab.pods();
        let entry = pods.get(&(namespace.to_owned(), name.to_owned()));
        entry.map(|e| (e.state.ready, e.state.message.clone()))
    };
    until("the outside pod runs", SOON, || async {
        match ready(OUTSIDE, "free") {
            Some((true, _)) => Ok(()),
            other => Err(other),
        }
    })
    .await?;
    until("the mesh pod is told to try again later", SOON, || async {
        match ready(TOWN, "late") {
            Some((false, message)) if message.contains("11") => Ok(()),
            other => Err(other),
        }
    })
    .await?;
    town.start(DaemonKind::Agent(node(1))).await?;
    town.captured("late").await?;
    town.lab.down().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ztunnel_started_without_the_controller_stays_unready_and_refuses() -> Result<()> {
    let Some(town) = town().await? else {
        return Ok(());
    };
    town.kill(DaemonKind::Controller).await?;
    // One that runs keeps its configuration in memory.
    ensure!(town.connections(5).await?.completed == 5);
    town.kill(DaemonKind::Ztunnel(node(1))).await?;
    let ztunnel = town.daemon(DaemonKind::Ztunnel(node(1)))?;
    ztunnel.start().await?;
    let summary = town.connections(3).await?;
    ensure!(summary.connected == 0, "{summary:?}");
    let ready = town
        .lab
        .page(node(1), 15021, "/healthz/ready")
        .await;
    ensure!(ready.is_err(), "unready: {ready:?}");
    town.start(DaemonKind::Controller).await?;
    town.lab.daemon_ready(&ztunnel).await?;
    town.works("echo").await?;
    town.lab.down().await;
    Ok(())
}
