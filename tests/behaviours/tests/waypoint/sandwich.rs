//! A waypoint of a third party that speaks no HBONE: its node proxy tells it of each connection by PROXY protocol.

use ambit_behaviours::town::{ECHO, SOON, TOWN, town};
use ambit_harness::client::TcpSummary;
use ambit_harness::until;
use anyhow::{Result, ensure};
use std::net::SocketAddr;

/// A Gateway of a class that nobody here runs, its address written by somebody else, and a Service that names it.
const THEIRS: &str = "\
apiVersion: gateway.networking.k8s.io/v1
kind: GatewayClass
metadata: {name: theirs, annotations: {ambient.istio.io/waypoint-inbound-binding: PROXY/15088}}
spec: {controllerName: example.com/gateways}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge, namespace: town}
spec:
  gatewayClassName: theirs
  listeners: [{name: proxy, port: 15088, protocol: istio.io/PROXY}]
status: {addresses: [{type: IPAddress, value: 10.96.2.9}]}
---
apiVersion: v1
kind: Service
metadata: {name: edge, namespace: town}
spec:
  clusterIP: 10.96.2.9
  selector: {app: edge}
  ports: [{name: tcp, port: 15088}]
---
apiVersion: v1
kind: Pod
metadata: {name: edge, namespace: town, labels: {app: edge, gateway.networking.k8s.io/gateway-name: edge}}
spec:
  nodeName: node-2
  terminationGracePeriodSeconds: 1
  containers:
  - name: edge
    image: ambit/bookinfo
    args: [tcp-serve, --listen, '0.0.0.0:15088', --proxy-protocol]
    readinessProbe: {tcpSocket: {port: 15088}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: guarded, namespace: town, labels: {istio.io/use-waypoint: edge}}
spec:
  clusterIP: 10.96.2.8
  selector: {app: echo}
  ports: [{name: tcp, port: 9000}]
";
/// The Service behind it.
const GUARDED: &str = "10.96.2.8:9000";

/// Whether every one of `n` connections was answered there, and told this of itself.
fn told(summary: &TcpSummary, n: usize, (client, to): (SocketAddr, SocketAddr)) -> bool {
    summary.completed == n
        && summary.pods.get("edge") == Some(&n)
        && summary.peers.get(&client.ip()) == Some(&n)
        && summary.locals.get(&to) == Some(&n)
        && summary
            .identities
            .get("spiffe://cluster.local/ns/town/sa/client")
            == Some(&n)
        && summary.services.get("guarded.town.svc.cluster.local") == Some(&n)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_waypoint_hears_who_called_from_where_and_for_what() -> Result<()> {
    let Some(town) = town().await? else {
        return Ok(());
    };
    town.lab.apply("theirs", THEIRS)?;
    town.lab.pods_ready(SOON).await?;
    town.captured("edge").await?;
    let to: SocketAddr = GUARDED.parse()?;
    let places = (town.address(TOWN, "client")?, to);
    until("the waypoint is told of a connection", SOON, || async {
        match town.lab.tcp(TOWN, "client", to, &[]).await {
            Ok(summary) if told(&summary, 1, places) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    let many = town.lab.tcp(TOWN, "client", to, &["-n", "20"]).await?;
    ensure!(told(&many, 20, places), "{many:?}");

    // What it dials itself is captured as of any pod, and does not come back to it.
    let onward = town.lab.tcp(TOWN, "edge", to, &[]).await?;
    ensure!(onward.pods.get("echo") == Some(&1), "{onward:?}");
    let direct = town.lab.tcp(TOWN, "client", ECHO, &[]).await?;
    ensure!(direct.pods.get("echo") == Some(&1), "{direct:?}");

    // Without the binding its node proxy has nobody to hand connections to.
    let bound = "PROXY/15088";
    town.lab.edit("theirs", bound, "NONE")?;
    until("connections are not answered any more", SOON, || async {
        match town.lab.tcp(TOWN, "client", to, &[]).await {
            Ok(summary) if summary.connected == 0 => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    town.lab.down().await;
    Ok(())
}
