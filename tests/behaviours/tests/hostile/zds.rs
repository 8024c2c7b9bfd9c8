//! Programs that reach the agent's socket and are no proxy.

use crate::siege::{Siege, siege};
use ambit_api::zds::{AmbitHello, Version, ZdsHello};
use ambit_behaviours::town::{SOON, node};
use ambit_harness::lab::DaemonKind;
use ambit_harness::until;
use ambit_net::fd_passing::SeqPacket;
use anyhow::{Context as _, Result, ensure};
use prost::Message as _;
use std::path::PathBuf;
use tokio::task::JoinSet;

/// Sessions that did not end well, by reason.
const FAILED: &str = "ambit_zds_sessions_failed_total";
/// Longest message the agent takes.
const LONGEST: usize = 4096;
/// Programs that say it while a pod joins, and at once in a round: fewer than the agent talks to at a time.
const LIARS: usize = 3;
const AT_ONCE: usize = 10;
/// How often they say it in a round; who says nothing is waited for ten seconds each time.
const TIMES: usize = 20;

/// A pod that joins while the agent is lied to.
const LATE: &str = "\
apiVersion: v1
kind: Pod
metadata: {name: late, namespace: town}
spec:
  nodeName: node-2
  serviceAccountName: echo
  terminationGracePeriodSeconds: 1
  containers:
  - name: echo
    image: ambit/bookinfo
    args: [tcp-serve]
    env: [{name: HOSTNAME, value: late}]
    readinessProbe: {tcpSocket: {port: 9000}, periodSeconds: 1}
";

fn socket(siege: &Siege) -> PathBuf {
    siege
        .town
        .lab
        .run_dir()
        .join(node(2).short())
        .join("zds.sock")
}

fn hello(version: i32) -> Vec<u8> {
    ZdsHello {
        version,
        ambit: Some(AmbitHello { workers: 2 }),
    }
    .encode_to_vec()
}

/// Waits until the agent has closed.
async fn closed(socket: &SeqPacket) -> Result<()> {
    let mut buffer = vec![0; LONGEST];
    let end = async {
        loop {
            match socket.recv(&mut buffer).await {
                Ok((0, _)) | Err(_) => return,
                Ok(_) => {}
            }
        }
    };
    tokio::time::timeout(SOON, end).await.context("still open")
}

async fn failed(siege: &Siege, reason: &str) -> Result<f64> {
    let metrics = siege.town.lab.agent_metrics(node(2)).await?;
    Ok(metrics.sum(FAILED, &[("reason", reason)]))
}

/// Says `message` instead of a hello; the agent closes, counts `reason`, logs `words`, and the real
/// proxy serves a pod that joins then.
async fn is_no_proxy(message: Option<Vec<u8>>, reason: &str, words: &str) -> Result<()> {
    let Some(siege) = siege().await? else {
        return Ok(());
    };
    let before = failed(&siege, reason).await?;
    let lies = lie(&siege, message.as_deref(), LIARS);
    siege.town.lab.apply("late", LATE)?;
    siege.town.captured("late").await?;
    siege.town.works("late").await?;
    all_closed(lies).await?;
    counted(&siege, reason, before + LIARS as f64).await?;
    siege
        .logged_by(DaemonKind::Agent(node(2)), &[words])
        .await?;
    siege
        .withstands_at(&[DaemonKind::Agent(node(2))], async |siege| {
            let before = failed(siege, reason).await?;
            let times = if message.is_some() { TIMES } else { 1 };
            for _ in 0..times {
                all_closed(lie(siege, message.as_deref(), AT_ONCE)).await?;
            }
            counted(siege, reason, before + (AT_ONCE * times) as f64).await?;
            siege.town.works("echo").await
        })
        .await
}

/// So many programs say `message`, or nothing, until the agent closes.
fn lie(siege: &Siege, message: Option<&[u8]>, liars: usize) -> JoinSet<Result<()>> {
    let one = |_| {
        let (path, message) = (socket(siege), message.map(<[u8]>::to_vec));
        async move {
            let socket = SeqPacket::connect(&path)?;
            if let Some(message) = message {
                socket.send(&message, &[]).await?;
            }
            closed(&socket).await
        }
    };
    (0..liars).map(one).collect()
}

async fn all_closed(mut liars: JoinSet<Result<()>>) -> Result<()> {
    while let Some(liar) = liars.join_next().await {
        liar??;
    }
    Ok(())
}

async fn counted(siege: &Siege, reason: &str, at_least: f64) -> Result<()> {
    until("the agent counts it", SOON, || async {
        match failed(siege, reason).await {
            Ok(now) if now >= at_least => Ok(()),
            other => Err(other),
        }
    })
    .await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_on_the_agents_socket_ends_only_its_own_session() -> Result<()> {
    is_no_proxy(Some(vec![0xff; 100]), "protocol", "not a protobuf message").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_longer_than_any_of_zds_ends_only_its_own_session() -> Result<()> {
    is_no_proxy(
        Some(vec![8; LONGEST + 1]),
        "receive",
        "message longer than 4096 bytes",
    )
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn another_version_of_zds_ends_only_its_own_session() -> Result<()> {
    let other = hello(Version::V1 as i32 + 1);
    is_no_proxy(Some(other), "protocol", "ZDS version 2 is not supported").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_says_nothing_ends_at_its_deadline() -> Result<()> {
    is_no_proxy(None, "late", "the proxy did not answer within 10s").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_never_acknowledges_loses_its_session_and_the_real_one_gets_its_pods()
-> Result<()> {
    let Some(siege) = siege().await? else {
        return Ok(());
    };
    let before = failed(&siege, "late").await?;
    let silent = SeqPacket::connect(&socket(&siege))?;
    silent.send(&hello(Version::V1 as i32), &[]).await?;
    let mut first = vec![0; LONGEST];
    let asked = tokio::time::timeout(SOON, silent.recv(&mut first)).await;
    let (length, _) = asked.context("the agent asks nothing")??;
    ensure!(length > 0, "closed");
    // It joins while the silent one is the newest proxy of the node.
    siege.town.lab.apply("late", LATE)?;
    closed(&silent).await?;
    counted(&siege, "late", before + 1.0).await?;
    let words = ["the proxy did not answer within 10s"];
    siege.logged_by(DaemonKind::Agent(node(2)), &words).await?;
    siege.town.captured("late").await?;
    siege.town.works("late").await?;
    siege.town.works("echo").await?;
    siege.over().await
}
