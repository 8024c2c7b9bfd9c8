//! IPv6: clusters of both families, and of IPv6 alone.

#[path = "ipv6/ingress.rs"]
mod ingress;
#[path = "ipv6/leaving.rs"]
mod leaving;
#[path = "ipv6/names.rs"]
mod names;
#[path = "ipv6/policy.rs"]
mod policy;
#[path = "ipv6/six_alone.rs"]
mod six_alone;
#[path = "ipv6/waypoint.rs"]
mod waypoint;

use ambit_behaviours::town::{OUTSIDE, PORT, SOON, TOWN, Town, node, town_of};
use ambit_harness::client::TcpSummary;
use ambit_harness::lab::{DaemonKind, Output, finish};
use ambit_harness::{Families, until};
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

/// IPv6 address of the Service `echo`.
const ECHO: SocketAddr = vip(0x1);
/// Address of the Service `near`.
const NEAR: SocketAddr = vip(0x7);

const fn vip(last: u16) -> SocketAddr {
    let ip = Ipv6Addr::new(0xfd00, 0x10, 0x96, 0, 0, 0, 2, last);
    SocketAddr::new(IpAddr::V6(ip), PORT)
}

async fn dual() -> Result<Option<Town>> {
    town_of(Families::Dual, include_str!("../src/dual_town.yaml")).await
}

/// All `n` connections were made, from `client` and to `server` as the server sees it.
fn all(summary: &TcpSummary, n: usize, (client, server): (SocketAddr, SocketAddr)) -> Result<()> {
    ensure!(summary.completed == n, "{summary:?}");
    ensure!(
        summary.peers.get(&client.ip()) == Some(&n),
        "not from {client}: {summary:?}"
    );
    ensure!(
        summary.locals.get(&server) == Some(&n),
        "not to {server}: {summary:?}"
    );
    Ok(())
}

/// `bookinfo tcp` in a pod, to a name of the town.
async fn by_name(town: &Town, (namespace, pod): (&str, &str), name: &str) -> Result<Output> {
    let target = format!("{name}.{TOWN}.svc.cluster.local:{PORT}");
    let command = ["bookinfo", "tcp", &target];
    Ok(town.lab.exec(namespace, pod, command).await?)
}

/// The `ambit` command, its answer as JSON.
async fn ambit(town: &Town, args: &[&str]) -> Result<Value> {
    let program = town.lab.programs().join("ambit");
    let lab = town.lab.name().to_string();
    let args = ["--lab", &lab, "-o", "json"]
        .into_iter()
        .chain(args.iter().copied());
    let output = town
        .lab
        .run(ambit_harness::process::Spec::new(program, args))
        .await?;
    serde_json::from_str(&output.stdout).with_context(|| format!("{output:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn over_ipv6_the_server_sees_the_clients_own_address_and_the_link_only_tunnels() -> Result<()>
{
    let Some(town) = dual().await? else {
        return Ok(());
    };
    let client = town.address_v6(TOWN, "client")?;
    let echo = town.address_v6(TOWN, "echo")?;
    // The greeting, which names both addresses, is the payload.
    let capture = town.lab.capture(&greeting(client))?;
    for to in [ECHO, echo] {
        let summary = town.lab.tcp(TOWN, "client", to, &["-n", "10"]).await?;
        all(&summary, 10, (client, echo))?;
    }
    let seen = capture.seen();
    ensure!(seen.marker == 0, "{seen:?}");
    ensure!(
        seen.other_bytes == 0 && seen.hbone_bytes > 0 && seen.ipv6_bytes == seen.hbone_bytes,
        "all by port 15008 over IPv6: {seen:?}"
    );
    let labels = [
        ("reporter", "destination"),
        ("connection_security_policy", "mutual_tls"),
    ];
    let opened = "istio_tcp_connections_opened_total";
    town.grows(2, (opened, &labels), 0.0, 20.0).await?;
    town.lab.down().await;
    Ok(())
}

/// Part of what a server sends first to this client.
fn greeting(client: SocketAddr) -> String {
    format!("\"peer\":\"[{}]", client.ip())
}

#[tokio::test(flavor = "multi_thread")]
async fn over_ipv6_a_pod_reaches_itself_its_own_service_and_its_neighbour_on_its_own_port()
-> Result<()> {
    let Some(town) = dual().await? else {
        return Ok(());
    };
    // `twin` serves the same port on the same node.
    let twin = "apiVersion: v1\nkind: Pod\nmetadata: {name: twin, namespace: town}\nspec:\n  nodeName: node-1\n  serviceAccountName: echo\n  terminationGracePeriodSeconds: 1\n  containers:\n  - name: echo\n    image: ambit/bookinfo\n    args: [tcp-serve]\n    env: [{name: LISTEN, value: \"[::]:9000\"}, {name: HOSTNAME, value: twin}]\n    readinessProbe: {tcpSocket: {port: 9000}}\n";
    town.lab.apply("twin", twin)?;
    town.captured("twin").await?;
    let (near, twin) = (
        town.address_v6(TOWN, "near")?,
        town.address_v6(TOWN, "twin")?,
    );
    until("near reaches twin", SOON, || async {
        match town.lab.tcp(TOWN, "near", twin, &["-n", "5"]).await {
            Ok(s) if all(&s, 5, (near, twin)).is_ok() && s.pods.get("twin") == Some(&5) => Ok(()),
            other => Err(other),
        }
    })
    .await?;
    for to in [near, NEAR] {
        let summary = town.lab.tcp(TOWN, "near", to, &["-n", "3"]).await?;
        ensure!(summary.pods.get("near") == Some(&3), "{to}: {summary:?}");
        ensure!(summary.completed == 3, "{to}: {summary:?}");
    }
    town.lab.down().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn over_ipv6_connections_wait_for_a_dead_ztunnel_and_are_refused_never_plain_without_an_agent()
-> Result<()> {
    let Some(town) = dual().await? else {
        return Ok(());
    };
    let (client, echo) = (
        town.address_v6(TOWN, "client")?,
        town.address_v6(TOWN, "echo")?,
    );
    let capture = town.lab.capture(&greeting(client))?;
    let ztunnel = DaemonKind::Ztunnel(node(1));
    town.kill(ztunnel).await?;
    let to = ECHO.to_string();
    let command = ["bookinfo", "tcp", &to, "-n", "5", "--timeout-ms", "60000"];
    let waiting = town.lab.start_in(TOWN, "client", command).await?;
    until("five wait", SOON, || async {
        let count = [
            "sh",
            "-c",
            "ss -6tnH state established dport = :9000 | wc -l",
        ];
        match town.lab.exec(TOWN, "client", count).await {
            Ok(o) if o.stdout.trim() == "5" => Ok(()),
            other => Err(other),
        }
    })
    .await?;
    town.start(ztunnel).await?;
    all(&finish(waiting).await?.summary()?, 5, (client, echo))?;

    town.kill(DaemonKind::Agent(node(1))).await?;
    town.kill(ztunnel).await?;
    let summary = town.lab.tcp(TOWN, "client", ECHO, &["-n", "10"]).await?;
    ensure!(summary.connected == 0, "{summary:?}");
    let refused = summary.errors.keys().all(|e| e.contains("refused"));
    ensure!(refused, "refused at once: {summary:?}");
    let near = town.address_v6(TOWN, "near")?;
    let args = ["--timeout-ms", "3000"];
    let summary = town.lab.tcp(OUTSIDE, "outsider", near, &args).await?;
    ensure!(summary.connected == 0, "inbound as well: {summary:?}");
    let seen = capture.seen();
    ensure!(seen.marker == 0 && seen.other_bytes == 0, "{seen:?}");
    town.lab.down().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_shows_both_addresses_of_a_workload_and_explains_an_ipv6_connection()
-> Result<()> {
    let Some(town) = dual().await? else {
        return Ok(());
    };
    let echo = town.address_v6(TOWN, "echo")?;
    let four = town.address(TOWN, "echo")?;
    let all = ambit(&town, &["ztunnel-config", "workload"])
        .await?
        .to_string();
    for ip in [echo.ip(), four.ip()] {
        ensure!(all.contains(&format!("\"{ip}\"")), "no {ip} in {all}");
    }
    for to in [ECHO.to_string(), format!("six:{PORT}")] {
        let args = [
            "explain",
            "connection",
            "--from",
            "town/client",
            "--to",
            &to,
        ];
        let told = ambit(&town, &args).await?;
        let decision = told["decision"].as_str().unwrap_or_default();
        let wanted = format!(
            "mutual TLS to town/echo at [{}]:15008, for {echo}",
            echo.ip()
        );
        ensure!(decision == wanted, "{told}");
        ensure!(told["refused"] == false, "{told}");
    }
    town.lab.down().await;
    Ok(())
}
