//! What applications see of a captured connection.

#[path = "connections/client_ports.rs"]
mod client_ports;
#[path = "connections/virtual_machine.rs"]
mod virtual_machine;

use ambit_behaviours::town::{ECHO, OUTSIDE, SOON, TOWN, node, town, town_set};
use ambit_harness::until;
use anyhow::{Result, ensure};

#[tokio::test(flavor = "multi_thread")]
async fn the_server_sees_the_clients_own_address_and_the_client_what_it_dialled() -> Result<()> {
    let Some(town) = town().await? else {
        return Ok(());
    };
    let client = town.address(TOWN, "client")?.ip();
    let echo = town.address(TOWN, "echo")?;
    let summary = town.connections(10).await?;
    ensure!(summary.completed == 10, "{summary:?}");
    ensure!(summary.peers.get(&client) == Some(&10), "{summary:?}");
    ensure!(summary.locals.get(&echo) == Some(&10), "{summary:?}");
    town.lab.down().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_listens_on_a_port_itself_reaches_its_neighbour_on_that_port() -> Result<()> {
    let Some(town) = town().await? else {
        return Ok(());
    };
    // `near` serves the same port on the same node as a second neighbour.
    let twin = "apiVersion: v1\nkind: Pod\nmetadata: {name: twin, namespace: town}\nspec:\n  nodeName: node-1\n  serviceAccountName: echo\n  terminationGracePeriodSeconds: 1\n  containers:\n  - name: echo\n    image: ambit/bookinfo\n    args: [tcp-serve]\n    env: [{name: HOSTNAME, value: twin}]\n    readinessProbe: {tcpSocket: {port: 9000}}\n";
    town.lab.apply("twin", twin)?;
    town.captured("twin").await?;
    let to = town.address(TOWN, "twin")?;
    until("near reaches twin", SOON, || async {
        match town.lab.tcp(TOWN, "near", to, &["-n", "5"]).await {
            Ok(s) if s.completed == 5 && s.pods.get("twin") == Some(&5) => Ok(()),
            other => Err(other),
        }
    })
    .await?;
    // Its own address stays its own, and is not captured.
    let own = town.address(TOWN, "near")?;
    let summary = town.lab.tcp(TOWN, "near", own, &[]).await?;
    ensure!(summary.pods.get("near") == Some(&1), "{summary:?}");
    town.lab.down().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_outside_the_mesh_is_reached_plainly() -> Result<()> {
    let Some(town) = town().await? else {
        return Ok(());
    };
    let to = town.address(OUTSIDE, "plain")?;
    let summary = town.lab.tcp(TOWN, "client", to, &["-n", "3"]).await?;
    ensure!(
        summary.completed == 3 && summary.pods.get("plain") == Some(&3),
        "{summary:?}"
    );
    let labels = [
        ("reporter", "source"),
        ("connection_security_policy", "unknown"),
    ];
    town.grows(1, ("istio_tcp_connections_opened_total", &labels), 0.0, 3.0)
        .await?;
    town.lab.down().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outsider_reaches_a_permissive_pod_and_not_a_strict_one() -> Result<()> {
    let Some(town) = town().await? else {
        return Ok(());
    };
    let to = town.address(TOWN, "echo")?;
    let summary = town.lab.tcp(OUTSIDE, "outsider", to, &[]).await?;
    ensure!(summary.completed == 1, "permissive by default: {summary:?}");
    let outsider = town.address(OUTSIDE, "outsider")?.ip();
    ensure!(summary.peers.contains_key(&outsider), "{summary:?}");
    let strict = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: default, namespace: town}\nspec: {mtls: {mode: STRICT}}\n";
    town.lab.apply("strict", strict)?;
    until("the outsider is refused", SOON, || async {
        match town.lab.tcp(OUTSIDE, "outsider", to, &[]).await {
            Ok(s) if s.connected == 0 => Ok(()),
            other => Err(other),
        }
    })
    .await?;
    let summary = town.connections(3).await?;
    ensure!(summary.completed == 3, "identities pass: {summary:?}");
    let denied = [("reporter", "destination"), ("response_flags", "DENY")];
    town.grows(2, ("istio_tcp_connections_opened_total", &denied), 0.0, 1.0)
        .await?;
    town.lab.remove("strict")?;
    until("permissive again", SOON, || async {
        match town.lab.tcp(OUTSIDE, "outsider", to, &[]).await {
            Ok(s) if s.completed == 1 => Ok(()),
            other => Err(other),
        }
    })
    .await?;
    town.lab.down().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn names_of_services_are_answered_by_the_node_proxy() -> Result<()> {
    let Some(town) = town().await? else {
        return Ok(());
    };
    let before = town.counted(1, "istio_dns_requests_total", &[]).await?;
    let target = format!("echo.{TOWN}.svc.cluster.local:{}", ECHO.port());
    let output = town
        .lab
        .exec(TOWN, "client", ["bookinfo", "tcp", &target])
        .await?;
    ensure!(output.status.success(), "{output:?}");
    town.grows(1, ("istio_dns_requests_total", &[]), before, 1.0)
        .await?;
    town.lab.down().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_client_is_refused_and_the_log_says_by_which_rule() -> Result<()> {
    let Some(town) = town().await? else {
        return Ok(());
    };
    let policy = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: no-client, namespace: town}\nspec:\n  selector: {matchLabels: {app: echo}}\n  action: DENY\n  rules:\n  - from: [{source: {principals: [cluster.local/ns/town/sa/client]}}]\n";
    town.lab.apply("no-client", policy)?;
    until("the client is refused", SOON, || async {
        match town.connections(1).await {
            Ok(s) if s.connected == 0 => Ok(()),
            other => Err(other),
        }
    })
    .await?;
    until("the log names the policy", SOON, || async {
        let log = town
            .lab
            .log(ambit_harness::lab::DaemonKind::Ztunnel(node(2)));
        if log.contains("town/no-client") {
            Ok(())
        } else {
            Err("not yet")
        }
    })
    .await?;
    town.lab.remove("no-client")?;
    town.works("echo").await?;
    town.lab.down().await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_controller_that_takes_post_quantum_handshakes_alone_the_mesh_works() -> Result<()> {
    let Some(town) = town_set(&[("COMPLIANCE_POLICY", "pqc")]).await? else {
        return Ok(());
    };
    let summary = town.connections(5).await?;
    ensure!(summary.completed == 5, "{summary:?}");
    town.lab.down().await;
    Ok(())
}
