//! The sample's networking.istio.io Gateway and VirtualService at the pods of a gateway.

use crate::door::{answers, ask, counted, gateway, open};
use crate::stage::{SOON, Stage};
use ambit_harness::until;
use anyhow::{Result, ensure};

const SAMPLE: &str = "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: bookinfo-gateway, namespace: bookinfo}
spec:
  selector: {istio: ingressgateway}
  servers:
    - {port: {number: 8080, name: http, protocol: HTTP}, hosts: ['*']}
    - {port: {number: 8443, name: tls, protocol: HTTPS}, hosts: ['*']}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: bookinfo, namespace: bookinfo}
spec:
  hosts: ['*']
  gateways: [bookinfo-gateway]
  http:
    - match:
        - uri: {exact: /productpage}
        - uri: {prefix: /static}
        - uri: {exact: /login}
        - uri: {exact: /logout}
        - uri: {prefix: /api/v1/products}
      route: [{destination: {host: productpage, port: {number: 9080}}}]
";

#[tokio::test(flavor = "multi_thread")]
async fn a_virtual_service_of_an_istio_gateway_is_served_where_its_selector_says() -> Result<()> {
    let Some(stage) = Stage::without_waypoint("ingressvs").await? else {
        return Ok(());
    };
    let listeners = "  - {name: http, port: 80, protocol: HTTP}\n";
    stage.lab.apply("front", &gateway(listeners))?;
    let address = open(&stage).await?;
    stage.lab.apply("sample", SAMPLE)?;
    let door = format!("http://{address}:8080");
    answers(&stage, &[], &format!("{door}/productpage"), 200).await?;
    let page = ask(&stage, &["-n", "9"], &format!("{door}/api/v1/products")).await?;
    ensure!(page.ok() == 9, "{page:?}");
    for path in ["/", "/productpage/x", "/reviews/0"] {
        answers(&stage, &[], &format!("{door}{path}"), 404).await?;
    }
    // Nothing of it is served on another port.
    answers(&stage, &[], &format!("http://{address}/productpage"), 404).await?;
    let labels = [
        ("reporter", "source"),
        ("connection_security_policy", "mutual_tls"),
        ("destination_workload", "productpage-v1"),
        ("response_code", "200"),
    ];
    counted(&stage, &labels, 10.0).await?;
    let words = ["runs at the gateways it names"];
    stage
        .status_has("VirtualService", "bookinfo", &words)
        .await?;
    let words = [
        "served by bookinfo/front",
        "port 8443: protocol HTTPS is not supported yet",
    ];
    stage
        .status_has("Gateway.networking.istio.io", "bookinfo-gateway", &words)
        .await?;

    stage.lab.remove("sample")?;
    until("the server closed", SOON, || async {
        match ask(&stage, &[], &format!("{door}/productpage")).await {
            Ok(answer) if answer.statuses.is_empty() => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    stage.lab.down().await;
    Ok(())
}
