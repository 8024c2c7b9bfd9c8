//! Services of one family and of both, and the records of their names.

use crate::{ECHO, all, by_name, dual};
use ambit_behaviours::town::{ECHO as ECHO_V4, OUTSIDE, TOWN};
use ambit_harness::client::TcpSummary;
use anyhow::{Result, ensure};

#[tokio::test(flavor = "multi_thread")]
async fn a_service_of_both_families_leads_to_an_address_of_the_one_that_was_dialled() -> Result<()>
{
    let Some(town) = dual().await? else {
        return Ok(());
    };
    let (client, client6) = (
        town.address(TOWN, "client")?,
        town.address_v6(TOWN, "client")?,
    );
    let (echo, echo6) = (town.address(TOWN, "echo")?, town.address_v6(TOWN, "echo")?);
    let summary = town.lab.tcp(TOWN, "client", ECHO_V4, &["-n", "5"]).await?;
    // A socket of both families names IPv4 peers in its own way.
    ensure!(
        summary.completed == 5 && peers(&summary, client.ip()),
        "{summary:?}"
    );
    ensure!(locals(&summary, echo), "{summary:?}");
    let summary = town.lab.tcp(TOWN, "client", ECHO, &["-n", "5"]).await?;
    all(&summary, 5, (client6, echo6))?;
    // A pod without IPv6 uses the other half of it.
    let old = town.address(TOWN, "old")?;
    let summary: TcpSummary = by_name(&town, (TOWN, "old"), "echo").await?.summary()?;
    ensure!(
        summary.completed == 1 && peers(&summary, old.ip()),
        "{summary:?}"
    );
    ensure!(locals(&summary, echo), "{summary:?}");
    town.lab.down().await;
    Ok(())
}

fn peers(summary: &TcpSummary, wanted: std::net::IpAddr) -> bool {
    summary.peers.keys().all(|ip| ip.to_canonical() == wanted)
}

fn locals(summary: &TcpSummary, wanted: std::net::SocketAddr) -> bool {
    let mut all = summary.locals.keys();
    all.all(|at| at.ip().to_canonical() == wanted.ip() && at.port() == wanted.port())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_of_ipv6_alone_is_found_by_name_and_answered_by_the_node_proxy() -> Result<()> {
    let Some(town) = dual().await? else {
        return Ok(());
    };
    let (client, echo) = (
        town.address_v6(TOWN, "client")?,
        town.address_v6(TOWN, "echo")?,
    );
    let aaaa = ("istio_dns_requests_total", [("request_query_type", "AAAA")]);
    let before = town.counted(1, aaaa.0, &aaaa.1).await?;
    let passed_on = town
        .counted(1, "istio_dns_upstream_requests_total", &[])
        .await?;
    // With a virtual address, and without one.
    for name in ["six", "pods"] {
        let summary = by_name(&town, (TOWN, "client"), name).await?.summary()?;
        all(&summary, 1, (client, echo))?;
    }
    town.grows(1, (aaaa.0, &aaaa.1), before, 2.0).await?;
    let after = town
        .counted(1, "istio_dns_upstream_requests_total", &[])
        .await?;
    ensure!(
        (after - passed_on).abs() < f64::EPSILON,
        "asked elsewhere: {passed_on} {after}"
    );
    // Outside the mesh the cluster's own DNS answers, and the node translates.
    let outsider = town.address_v6(OUTSIDE, "outsider")?;
    let summary = by_name(&town, (OUTSIDE, "outsider"), "six")
        .await?
        .summary()?;
    all(&summary, 1, (outsider, echo))?;
    // A pod without IPv6 has no way to it: an error at once, no wait.
    let output = by_name(&town, (TOWN, "old"), "six").await?;
    ensure!(!output.status.success(), "{output:?}");
    let summary: TcpSummary = output.summary()?;
    ensure!(summary.connected == 0, "{summary:?}");
    ensure!(
        !summary.errors.keys().any(|e| e.contains("timeout")),
        "{summary:?}"
    );
    town.lab.down().await;
    Ok(())
}
