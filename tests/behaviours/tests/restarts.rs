//! Programs of the mesh are killed; nothing goes out in plaintext, nothing that waits is lost.

use std::net::SocketAddr;
use std::time::Duration;

use ambit_behaviours::{all_held, can_run, joined, report};
use ambit_harness::demo::scene::BOOKINFO;
use ambit_harness::demo::{Scene, away};
use ambit_harness::lab::{DaemonKind, finish};
use ambit_harness::names::NodeNumber;
use ambit_harness::{Lab, until};
use anyhow::{Context as _, Result};

/// Connections that are started while a program is away.
const CONNECTIONS: usize = 200;
const SOON: Duration = Duration::from_secs(30);
/// A TCP server on the other node than the client.
const ECHO: &str = "\
apiVersion: v1
kind: ServiceAccount
metadata: {name: echo, namespace: bookinfo}
---
apiVersion: v1
kind: Pod
metadata: {name: echo, namespace: bookinfo, labels: {app: echo}}
spec:
  serviceAccountName: echo
  nodeName: node-2
  containers:
    - name: echo
      image: ambit/tools
      args: [tcp-serve]
      readinessProbe: {tcpSocket: {port: 9000}}
";

#[tokio::test(flavor = "multi_thread")]
async fn with_the_controller_away_pods_that_never_talked_connect() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let lab = joined("away").await?;
    let mut report = report();
    away::run(&Scene::new(&lab), &mut report).await?;
    all_held(&report);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_made_while_ztunnel_is_away_complete_once_it_is_back() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let lab = joined("zkill").await?;
    let to = echo(&lab).await?;
    connects_survive_a_ztunnel_restart(&lab, to).await
}

#[tokio::test(flavor = "multi_thread")]
async fn so_they_do_after_the_agent_was_killed_and_restarted_first() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let lab = joined("azkill").await?;
    let to = echo(&lab).await?;
    let node = NodeNumber::new(1);
    let agent = lab
        .daemon(DaemonKind::Agent(node))
        .context("no agent")?
        .clone();
    let before = enrolled(&lab, node).await?;
    agent.kill().await;
    agent.start().await?;
    lab.daemon_ready(&agent).await?;
    until(
        "the agent has its pods and their listeners back",
        SOON,
        || async {
            match enrolled(&lab, node).await {
                Ok(again) if again == before => Ok(()),
                other => Err(format!("{other:?}")),
            }
        },
    )
    .await?;
    connects_survive_a_ztunnel_restart(&lab, to).await
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_agent_away_running_pods_connect() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let lab = joined("akill").await?;
    let to = echo(&lab).await?;
    for node in lab.nodes() {
        lab.daemon(DaemonKind::Agent(node.number))
            .context("no agent")?
            .kill()
            .await;
    }
    let capture = lab.capture("")?;
    let summary = lab.tcp(BOOKINFO, "client", to, &["-n", "200"]).await?;
    assert_eq!(summary.completed, CONNECTIONS, "{summary:?}");
    assert_eq!(summary.locals.get(&to), Some(&CONNECTIONS), "{summary:?}");
    let seen = capture.seen();
    assert!(seen.hbone_bytes > 0 && seen.other_bytes == 0, "{seen:?}");
    Ok(())
}

/// A pod with the echo server, captured; its address.
async fn echo(lab: &Lab) -> Result<SocketAddr> {
    lab.apply("echo", ECHO)?;
    lab.pods_ready(SOON).await?;
    Scene::new(lab).captured(true).await?;
    let address = lab.pod_address(BOOKINFO, "echo").context("no address")?;
    let to = SocketAddr::from((address, 9000));
    // Both proxies know the pod and have its certificate.
    until("the echo server answers by the mesh", SOON, || async {
        let capture = lab.capture("").map_err(|e| e.to_string())?;
        let summary = lab
            .tcp(BOOKINFO, "client", to, &[])
            .await
            .map_err(|e| e.to_string())?;
        let seen = capture.seen();
        let by_mesh = summary.completed == 1 && seen.hbone_bytes > 0 && seen.other_bytes == 0;
        if by_mesh {
            Ok(())
        } else {
            Err(format!("{summary:?} {seen:?}"))
        }
    })
    .await?;
    Ok(to)
}

async fn connects_survive_a_ztunnel_restart(lab: &Lab, to: SocketAddr) -> Result<()> {
    let capture = lab.capture("")?;
    let ztunnel = lab
        .daemon(DaemonKind::Ztunnel(NodeNumber::new(1)))
        .context("no ztunnel")?
        .clone();
    ztunnel.kill().await;
    let (count, target) = (CONNECTIONS.to_string(), to.to_string());
    let client = [
        "bookinfo",
        "tcp",
        &target,
        "-n",
        &count,
        "--timeout-ms",
        "60000",
    ];
    let client = lab.start_in(BOOKINFO, "client", client).await?;
    // Every handshake is done by the kernel; nobody has accepted one yet.
    until(
        "all connections wait in the pod's listeners",
        SOON,
        || async {
            let waiting = queued(lab).await.map_err(|e| format!("{e:#}"))?;
            if waiting >= CONNECTIONS {
                Ok(())
            } else {
                Err(waiting.to_string())
            }
        },
    )
    .await?;
    ztunnel.start().await?;
    let summary: ambit_harness::client::TcpSummary = finish(client).await?.summary()?;
    assert_eq!(summary.completed, CONNECTIONS, "{summary:?}");
    assert_eq!(summary.locals.get(&to), Some(&CONNECTIONS), "{summary:?}");
    let from = lab.pod_address(BOOKINFO, "client").context("no address")?;
    assert_eq!(
        summary.peers.get(&from.into()),
        Some(&CONNECTIONS),
        "{summary:?}"
    );
    let seen = capture.seen();
    assert!(
        seen.hbone_bytes > 0 && seen.other_bytes == 0,
        "in plaintext: {seen:?}"
    );
    Ok(())
}

/// Enrolled pods of a node and proxies connected to its agent, as the agent counts them.
async fn enrolled(lab: &Lab, node: NodeNumber) -> Result<(f64, f64)> {
    let metrics = lab.agent_metrics(node).await?;
    let pods = metrics.sum("ambit_pods", &[("state", "enrolled")]);
    Ok((pods, metrics.sum("ambit_zds_connections", &[])))
}

/// Connections in the accept queues of the client pod's outbound listeners.
async fn queued(lab: &Lab) -> Result<usize> {
    let output = lab
        .exec(BOOKINFO, "client", ["ss", "-Hltn", "sport", "=", ":15001"])
        .await?;
    Ok(output
        .stdout
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1)?.parse::<usize>().ok())
        .sum())
}
