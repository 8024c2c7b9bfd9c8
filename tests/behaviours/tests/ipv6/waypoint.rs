//! Waypoints in clusters that have IPv6.

use crate::six_alone::six;
use crate::{ECHO, dual};
use ambit_behaviours::town::{ECHO as ECHO_V4, SOON, TOWN, Town};
use ambit_harness::client::TcpSummary;
use ambit_harness::until;
use anyhow::{Result, ensure};
use std::net::IpAddr;

/// A waypoint for Services that name it.
const GATE: &str = "\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: gate, namespace: town, labels: {istio.io/waypoint-for: service}}
spec:
  gatewayClassName: istio-waypoint
  listeners: [{name: mesh, port: 15008, protocol: HBONE}]
";
/// Rules for the Service `web` that mark its answers.
const RULES: &str = "\
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web, namespace: town}
spec:
  hosts: [web]
  http:
  - route: [{destination: {host: web}}]
    headers: {response: {set: {x-through: waypoint}}}
";

#[tokio::test(flavor = "multi_thread")]
async fn in_a_cluster_of_ipv6_alone_a_waypoint_takes_requests_to_a_virtual_address() -> Result<()> {
    let Some(town) = six().await? else {
        return Ok(());
    };
    town.lab.apply("gate", GATE)?;
    town.lab.apply("rules", RULES)?;
    let url = "http://web:9080/details/0";
    let args = ["-n", "20", "--count-header", "x-through", url];
    until("the waypoint answers", SOON, || async {
        match town.lab.http(TOWN, "client", &args).await {
            Ok(s) if s.ok() == 20 && s.header("x-through", "waypoint") == 20 => Ok(()),
            other => Err(other),
        }
    })
    .await?;
    let capture = town.lab.capture("details/0")?;
    // By name, and by an address with a port as the authority.
    for url in [url, "http://[fd00:10:96::2:8]:9080/details/0"] {
        let args = ["-n", "5", "--count-header", "x-through", url];
        let answers = town.lab.http(TOWN, "client", &args).await?;
        ensure!(
            answers.ok() == 5 && answers.header("x-through", "waypoint") == 5,
            "{url}: {answers:?}"
        );
    }
    let seen = capture.seen();
    ensure!(seen.marker == 0 && seen.other_bytes == 0, "{seen:?}");
    // Its generated Service has an address that somebody in this cluster can dial.
    let gate = std::fs::read_to_string(town.lab.directory().join(STATUS))?;
    ensure!(gate.contains("value: fd00:10:96::8000:"), "{gate}");
    town.lab.down().await;
    Ok(())
}

/// Status of the Gateway.
const STATUS: &str = ".status/controller/gateways/town/gate.yaml";

#[tokio::test(flavor = "multi_thread")]
async fn a_waypoint_takes_connections_to_either_address_of_a_service_of_both_families() -> Result<()>
{
    let Some(town) = dual().await? else {
        return Ok(());
    };
    town.lab.apply("gate", GATE)?;
    let named = "metadata: {name: echo, namespace: town, labels: {istio.io/use-waypoint: gate}}\nspec:\n  clusterIP: 10.96.2.1";
    town.lab.edit(
        "town",
        "metadata: {name: echo, namespace: town}\nspec:\n  clusterIP: 10.96.2.1",
        named,
    )?;
    for to in [ECHO, ECHO_V4] {
        until(
            &format!("{to} leads through the waypoint"),
            SOON,
            || async {
                match town.lab.tcp(TOWN, "client", to, &["-n", "5"]).await {
                    Ok(s) if s.completed == 5 && through(&town, &s) => Ok(()),
                    other => Err(other),
                }
            },
        )
        .await?;
    }
    // A pod's own address does not.
    let (client, echo) = (
        town.address_v6(TOWN, "client")?,
        town.address_v6(TOWN, "echo")?,
    );
    let summary = town.lab.tcp(TOWN, "client", echo, &[]).await?;
    crate::all(&summary, 1, (client, echo))?;
    town.lab.down().await;
    Ok(())
}

/// Whether servers saw nobody but the waypoint.
fn through(town: &Town, summary: &TcpSummary) -> bool {
    let waypoint: Vec<IpAddr> = town
        .lab
        .pods()
        .iter()
        .filter(|((_, name), _)| name.starts_with("gate-"))
        .flat_map(|(_, pod)| pod.state.addresses.clone())
        .collect();
    let mut peers = summary.peers.keys();
    peers.all(|ip| waypoint.contains(&ip.to_canonical()))
}
