//! A cluster without IPv4: nodes, controller, probes and tunnels have IPv6 only.

use crate::{ECHO, all, by_name, greeting};
use ambit_behaviours::town::{OUTSIDE, TOWN, Town, node, town_of};
use ambit_harness::Families;
use anyhow::{Result, ensure};

pub(crate) async fn six() -> Result<Option<Town>> {
    town_of(Families::V6, include_str!("../../src/six_town.yaml")).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_of_ipv6_alone_probes_names_tunnels_and_takes_plain_connections() -> Result<()> {
    // It came up: probes passed, certificates and configuration were had.
    let Some(town) = six().await? else {
        return Ok(());
    };
    let (client, echo) = (town.address(TOWN, "client")?, town.address(TOWN, "echo")?);
    ensure!(client.is_ipv6() && town.lab.pod_address(TOWN, "client").is_none());
    let capture = town.lab.capture(&greeting(client))?;
    let summary = town.lab.tcp(TOWN, "client", ECHO, &["-n", "10"]).await?;
    all(&summary, 10, (client, echo))?;
    let named = by_name(&town, (TOWN, "client"), "echo").await?.summary()?;
    all(&named, 1, (client, echo))?;
    // Its nameserver has an IPv6 address: the query passes the proxy by, which is counted.
    let passed = [("decision", "dns_bypassed_v6")];
    let metrics = town.lab.agent_metrics(node(1)).await?;
    ensure!(metrics.sum("ambit_capture_decisions_total", &passed) > 0.0);
    let seen = capture.seen();
    ensure!(
        seen.marker == 0 && seen.other_bytes == 0 && seen.hbone_bytes > 0,
        "{seen:?}"
    );
    let outsider = town.address(OUTSIDE, "outsider")?;
    let summary = town.lab.tcp(OUTSIDE, "outsider", echo, &[]).await?;
    all(&summary, 1, (outsider, echo))?;
    town.lab.down().await;
    Ok(())
}
