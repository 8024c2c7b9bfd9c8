//! A pod leaves the mesh while its IPv6 connections live.

use crate::{ECHO, all, dual, greeting};
use ambit_behaviours::town::{SOON, TOWN, Town};
use ambit_harness::client::TcpSummary;
use ambit_harness::cluster::PodView;
use ambit_harness::lab::finish;
use ambit_harness::until;
use anyhow::{Result, ensure};
use nix::sys::signal::Signal;

#[tokio::test(flavor = "multi_thread")]
async fn ipv6_connections_live_on_when_the_pods_leave_the_mesh_and_later_ones_are_plain()
-> Result<()> {
    let Some(town) = dual().await? else {
        return Ok(());
    };
    let (client, echo) = (
        town.address_v6(TOWN, "client")?,
        town.address_v6(TOWN, "echo")?,
    );
    let to = ECHO.to_string();
    let command = ["bookinfo", "tcp", &to, "-n", "4", "--hold-ms", "20"];
    let held = town.lab.start_in(TOWN, "client", command).await?;
    let open = "istio_tcp_connections_opened_total";
    let source = [("reporter", "source")];
    town.grows(1, (open, &source), 0.0, 4.0).await?;

    let label = ", labels: {istio.io/dataplane-mode: ambient}";
    town.lab.edit("town", label, "")?;
    outside(&town).await?;
    let capture = town.lab.capture(&greeting(client))?;
    until("connections are plain", SOON, || async {
        let made = town.lab.tcp(TOWN, "client", ECHO, &["-n", "2"]).await;
        match (made, capture.seen().marker) {
            (Ok(s), n) if n > 0 => all(&s, 2, (client, echo)).map_err(|e| e.to_string()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;

    held.signal(Signal::SIGTERM);
    let summary: TcpSummary = finish(held).await?.summary()?;
    all(&summary, 4, (client, echo))?;
    ensure!(summary.messages > 0, "{summary:?}");
    for pod in ["client", "echo"] {
        clean(&town, pod).await?;
    }
    town.lab.down().await;
    Ok(())
}

/// Waits until a pod has no rule and no route of the mesh.
async fn clean(town: &Town, pod: &str) -> Result<()> {
    const LEFT: &str = "ip -6 rule show; ip -6 route show table 100 2>/dev/null; \
                        ip -6 route show table 101 2>/dev/null";
    until(&format!("{pod} is as before"), SOON, || async {
        let left = town.lab.exec(TOWN, pod, ["sh", "-c", LEFT]).await;
        let left = left.map_err(|e| e.to_string())?.stdout;
        let others = left
            .lines()
            .filter(|line| !line.contains("from all lookup"));
        match others.count() {
            0 => Ok(()),
            _ => Err(left),
        }
    })
    .await?;
    Ok(())
}

async fn outside(town: &Town) -> Result<()> {
    until("no pod is captured", SOON, || async {
        let cluster = town.lab.cluster();
        let marked: Vec<&String> = cluster
            .pods
            .values()
            .filter(|pod| {
                let mark = PodView(pod).annotation(ambit_api::labels::REDIRECTION);
                mark.is_some_and(|state| state == "enabled")
            })
            .filter_map(|pod| pod.metadata.name.as_ref())
            .collect();
        if marked.is_empty() {
            Ok(())
        } else {
            Err(format!("{marked:?}"))
        }
    })
    .await?;
    Ok(())
}
