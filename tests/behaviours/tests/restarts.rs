//! Programs of the mesh are killed; nothing goes out in plaintext, nothing that waits is lost.

use std::net::SocketAddr;
use std::time::Duration;

use ambit_api::ports;
use ambit_behaviours::{all_held, can_run, joined, outside, report};
use ambit_harness::client::TcpSummary;
use ambit_harness::demo::scene::BOOKINFO;
use ambit_harness::demo::{Scene, away};
use ambit_harness::lab::{DaemonKind, finish};
use ambit_harness::names::NodeNumber;
use ambit_harness::{Lab, until};
use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Connections that are started while a program is away.
const CONNECTIONS: usize = 200;
const SOON: Duration = Duration::from_secs(30);
/// How many connections may wait at one listener of a pod that is told to be small.
const QUEUE: usize = 16;
/// The readable part of what `bookinfo tcp` sends on every connection.
const PAYLOAD: &str = "!\"#$%&'()*+,-./0123456789:;<=>?";
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
    ensure!(
        enrolled(&lab, node).await? == before,
        "it has its pods and their listeners back"
    );
    connects_survive_a_ztunnel_restart(&lab, to).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_agent_is_ready_only_when_its_pods_have_their_listeners_back() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let lab = joined("aready").await?;
    let node = NodeNumber::new(1);
    let daemon = |kind| lab.daemon(kind).cloned().context("no such daemon");
    let agent = daemon(DaemonKind::Agent(node))?;
    let (captured, _) = enrolled(&lab, node).await?;
    ensure!(captured > 0.0, "pods of this node are captured");
    agent.kill().await;
    let ztunnel = daemon(DaemonKind::Ztunnel(node))?.pid().await;
    let paused = Paused::new(ztunnel.context("ztunnel does not run")?)?;
    agent.start().await?;
    until("the agent knows everything but listeners", SOON, || async {
        match held(&lab, node).await {
            Ok((true, 0, without)) if without as f64 == captured => Ok(()),
            other => Err(other),
        }
    })
    .await?;
    let answer = lab.page(node, ports::AGENT_READINESS, "/ready").await?;
    ensure!(answer.contains("listeners of captured pods"), "{answer}");

    drop(paused);
    lab.daemon_ready(&agent).await?;
    let (_, with, without) = held(&lab, node).await?;
    ensure!(
        with as f64 == captured && without == 0,
        "ready, and {without} captured pods without listeners"
    );
    lab.down().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn beyond_the_queue_connections_end_in_an_error_and_none_goes_out_in_plaintext() -> Result<()>
{
    if !can_run() {
        return Ok(());
    }
    let lab = outside("backlog").await?;
    // A listener's queue is as long as the namespace allows when it is made.
    let small = format!("echo {QUEUE} > /proc/sys/net/core/somaxconn");
    let set = lab.exec(BOOKINFO, "client", ["sh", "-c", &small]).await?;
    ensure!(set.status.success(), "{set:?}");
    Scene::new(&lab).label()?;
    let to = echo(&lab).await?;
    let capture = lab.capture(PAYLOAD)?;
    let ztunnel = lab
        .daemon(DaemonKind::Ztunnel(NodeNumber::new(1)))
        .context("no ztunnel")?
        .clone();
    ztunnel.kill().await;

    let target = to.to_string();
    let client = |n: &'static str, timeout: &'static str| {
        let command = ["bookinfo", "tcp", &target, "-n", n, "--timeout-ms", timeout];
        lab.start_in(BOOKINFO, "client", command.map(str::to_owned))
    };
    let early = client("100", "30000").await?;
    let waiting = until("the queues are full", SOON, || async {
        match queues(&lab).await {
            Ok(all) if !all.is_empty() && all.iter().all(|(is, most)| is > most) => Ok(all),
            other => Err(other),
        }
    })
    .await?;
    ensure!(
        waiting.iter().all(|(_, most)| *most == QUEUE),
        "the pod's own limit: {waiting:?}"
    );
    let fit: usize = waiting.iter().map(|(is, _)| is).sum();
    let late: TcpSummary = finish(client("40", "3000").await?).await?.summary()?;
    ensure!(
        late.connected == 0 && late.errors.values().sum::<usize>() == 40,
        "{late:?}"
    );
    let seen = capture.seen();
    ensure!(
        seen.hbone_bytes == 0 && seen.other_bytes == 0 && seen.marker == 0,
        "without a proxy nothing leaves: {seen:?}"
    );

    ztunnel.start().await?;
    // Those beside the queue try on. Some succeed; with others the kernel has completed a handshake by SYN
    // cookie that it then had no room for, which a client that waits for a greeting learns by its deadline.
    let early: TcpSummary = finish(early).await?.summary()?;
    ensure!(early.completed >= fit, "{fit} had fitted: {early:?}");
    ensure!(
        early.locals.len() == 1 && early.locals.get(&to) == Some(&early.connected),
        "elsewhere than {to}: {early:?}"
    );
    let seen = capture.seen();
    ensure!(
        seen.hbone_bytes > 0 && seen.other_bytes == 0 && seen.marker == 0,
        "in plaintext: {seen:?}"
    );
    lab.down().await;
    Ok(())
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
    let summary: TcpSummary = finish(client).await?.summary()?;
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

/// Whether the agent of a node has heard the source, and how many captured pods there are with listeners in
/// its hands and how many without.
async fn held(lab: &Lab, node: NodeNumber) -> Result<(bool, usize, usize)> {
    let page = lab
        .page(node, ports::CONTROL_METRICS, "/debug/pods")
        .await?;
    let view: serde_json::Value = serde_json::from_str(&page)?;
    let pods = view["pods"].as_array().context("no pods")?;
    let captured = pods.iter().filter(|pod| pod["state"] == "enrolled");
    let (with, without): (Vec<_>, Vec<_>) =
        captured.partition(|pod| pod["workers"].is_u64() && pod["served"] == true);
    Ok((view["sourceComplete"] == true, with.len(), without.len()))
}

/// A process that does not run until this is dropped.
struct Paused(Pid);

impl Paused {
    fn new(pid: i32) -> Result<Self> {
        let pid = Pid::from_raw(pid);
        kill(pid, Signal::SIGSTOP)?;
        Ok(Self(pid))
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        // It may have been killed meanwhile.
        let _ = kill(self.0, Signal::SIGCONT);
    }
}

/// Connections in the accept queues of the client pod's outbound listeners.
async fn queued(lab: &Lab) -> Result<usize> {
    Ok(queues(lab).await?.into_iter().map(|(is, _)| is).sum())
}

/// For each of these listeners: how many wait, and its limit; the kernel takes one more than that.
async fn queues(lab: &Lab) -> Result<Vec<(usize, usize)>> {
    let output = lab
        .exec(BOOKINFO, "client", ["ss", "-Hltn", "sport", "=", ":15001"])
        .await?;
    let listeners = output.stdout.lines().filter_map(|line| {
        let mut fields = line.split_whitespace().skip(1).map(str::parse);
        Some((fields.next()?.ok()?, fields.next()?.ok()?))
    });
    Ok(listeners.collect())
}
