//! Addresses of one name that a waypoint races (`istio.io/connect-strategy`).

use crate::place::{gives, http, place_with, says};
use crate::waypoint::WAYPOINT;
use ambit_behaviours::town::{OUTSIDE, SOON, TOWN, Town};
use ambit_harness::until;
use anyhow::{Context, Result, ensure};
use std::net::Ipv4Addr;

/// A second web server of the same name.
const SECOND: &str = "
---
apiVersion: v1
kind: Pod
metadata: {name: web-b, namespace: outside, labels: {app: web}}
spec:
  nodeName: node-2
  terminationGracePeriodSeconds: 1
  containers:
  - name: web
    image: ambit/bookinfo
    args: [details]
    readinessProbe: {httpGet: {path: /health, port: 9080}, periodSeconds: 1}
";
/// Both, raced. Without a race a connection that nobody answers would outlast every client.
const PAIR: &str = "
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata:
  name: pair
  namespace: town
  labels: {istio.io/use-waypoint: waypoint}
  annotations: {istio.io/connect-strategy: RACE_FIRST_TCP_CONNECT}
spec:
  hosts: [pair.example.com]
  resolution: DNS
  ports: [{number: 80, name: http, protocol: HTTP, targetPort: 9080}]
  endpoints: [{address: web.outside.svc.cluster.local}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: pair, namespace: town}
spec:
  host: pair.example.com
  trafficPolicy: {connectionPool: {tcp: {connectTimeout: 600s}}}
";

fn address(town: &Town, namespace: &str, pod: &str) -> Result<Ipv4Addr> {
    let found = town.lab.pod_address(namespace, pod);
    found.with_context(|| format!("{namespace}/{pod} has no address"))
}

/// Runs nftables' command in a pod.
async fn nft(town: &Town, pod: &str, command: &str) -> Result<String> {
    let output = town.lab.exec(OUTSIDE, pod, ["nft", command]).await?;
    ensure!(output.status.success(), "{output:?}");
    Ok(output.stdout)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_does_not_answer_keeps_nobody_waiting() -> Result<()> {
    let Some(town) = place_with(SECOND).await? else {
        return Ok(());
    };
    let status = ("serviceentries", "pair");
    town.lab.apply("pair", PAIR)?;
    says(&town, status, &["NoWaypointForRacingConnectStrategy"]).await?;
    town.lab.apply("waypoint", WAYPOINT)?;
    says(&town, status, &["WaypointAccepted"]).await?;

    // The lower address is tried first; what the waypoint sends there is lost.
    let waypoint = until("the waypoint's pod", SOON, || async {
        let pods = town.lab.pods().into_keys();
        let mut own =
            pods.filter(|(namespace, pod)| namespace == TOWN && pod.starts_with("waypoint"));
        own.next().ok_or("none")
    })
    .await?;
    let from = address(&town, TOWN, &waypoint.1)?;
    let (first, second) = (
        address(&town, OUTSIDE, "web")?,
        address(&town, OUTSIDE, "web-b")?,
    );
    let hole = if first < second { "web" } else { "web-b" };
    let swallow = format!(
        "add table inet hole; \
         add chain inet hole in {{ type filter hook input priority 0; policy accept; }}; \
         add rule inet hole in ip saddr {from} tcp dport 9080 counter drop"
    );
    nft(&town, hole, &swallow).await?;
    gives(&town, "http://pair.example.com/health", 200).await?;
    let many = http(&town, &["-n", "20", "http://pair.example.com/health"]).await?;
    ensure!(many.ok() == 20, "{many:?}");
    let swallowed = nft(&town, hole, "list table inet hole").await?;
    ensure!(
        !swallowed.contains("packets 0 "),
        "nobody tried it: {swallowed}"
    );
    town.lab.down().await;
    Ok(())
}
