//! What happens when a part of a node is away: ARCHITECTURE.md, "When something is missing".

use ambit_behaviours::town::{OUTSIDE, SOON, TOWN, node, town};
use ambit_harness::lab::DaemonKind;
use ambit_harness::until;
use anyhow::{Result, ensure};

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
    let ready = town.lab.page(node(1), 15021, "/healthz/ready").await;
    ensure!(
        ready.is_ok_and(|text| text.starts_with("not ready")),
        "unready"
    );
    town.start(DaemonKind::Controller).await?;
    town.lab.daemon_ready(&ztunnel).await?;
    town.works("echo").await?;
    town.lab.down().await;
    Ok(())
}
