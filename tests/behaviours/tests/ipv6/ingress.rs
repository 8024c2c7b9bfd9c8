//! An ingress gateway in a cluster of IPv6 alone.

use crate::six_alone::six;
use ambit_behaviours::town::{OUTSIDE, SOON};
use ambit_harness::until;
use anyhow::{Result, ensure};
use std::net::Ipv6Addr;

const FRONT: &str = "\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: front, namespace: town}
spec:
  gatewayClassName: istio
  listeners: [{name: http, port: 80, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: town}
spec:
  parentRefs: [{name: front}]
  rules:
  - backendRefs: [{name: web, port: 9080}]
";
/// Status of the Gateway.
const STATUS: &str = ".status/controller/gateways/town/front.yaml";

#[tokio::test(flavor = "multi_thread")]
async fn in_a_cluster_of_ipv6_alone_a_gateway_takes_requests_from_outside_at_the_address_it_says()
-> Result<()> {
    let Some(town) = six().await? else {
        return Ok(());
    };
    town.lab.apply("front", FRONT)?;
    let place = town.lab.directory().join(STATUS);
    let address = until("the gateway's address", SOON, || async {
        let text = std::fs::read_to_string(&place).map_err(|e| e.to_string())?;
        address(&text).ok_or(text)
    })
    .await?;
    let url = format!("http://[{address}]/details/0");
    let args = ["-n", "10", &url];
    until("the gateway answers", SOON, || async {
        match town.lab.http(OUTSIDE, "outsider", &args).await {
            Ok(answers) if answers.ok() == 10 => Ok(()),
            other => Err(other),
        }
    })
    .await?;
    let principal = "spiffe://cluster.local/ns/town/sa/front-istio";
    let labels = [("reporter", "destination"), ("source_principal", principal)];
    let opened = "istio_tcp_connections_opened_total";
    town.grows(2, (opened, &labels), 0.0, 1.0).await?;
    let elsewhere = format!("http://[{address}]:9080/details/0");
    let answers = town.lab.http(OUTSIDE, "outsider", &[&elsewhere]).await?;
    ensure!(answers.ok() == 0, "only its listeners' ports: {answers:?}");
    town.lab.down().await;
    Ok(())
}

/// The first address in a Gateway's status.
fn address(status: &str) -> Option<Ipv6Addr> {
    let mut values = status.lines().filter_map(|line| {
        let (_, value) = line.split_once("value:")?;
        value.trim().trim_matches(['"', '\'']).parse().ok()
    });
    values.next()
}
