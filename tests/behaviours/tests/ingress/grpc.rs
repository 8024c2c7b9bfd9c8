//! Real gRPC, by HTTP/2 and with trailers: to a service with a waypoint and through an ingress gateway.

use crate::door::{counted, gateway, open};
use crate::stage::{SOON, Stage};
use ambit_harness::demo::scene::BOOKINFO;
use ambit_harness::prometheus::Scrape;
use ambit_harness::until;
use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// A server of `version`, and a Service of it alone.
fn server(version: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Pod\n\
         metadata: {{name: calls-{version}, namespace: bookinfo, labels: {{app: calls, version: {version}}}}}\n\
         spec:\n  nodeName: node-2\n  terminationGracePeriodSeconds: 1\n  containers:\n  \
         - name: calls\n    image: ambit/bookinfo\n    args: [grpc-serve]\n    \
         env: [{{name: SERVICE_VERSION, value: {version}}}]\n    \
         readinessProbe: {{tcpSocket: {{port: 9090}}, periodSeconds: 1}}\n---\n\
         apiVersion: v1\nkind: Service\nmetadata: {{name: calls-{version}, namespace: bookinfo}}\n\
         spec:\n  clusterIP: 10.96.7.{}\n  selector: {{app: calls, version: {version}}}\n  \
         ports: [{{name: grpc, port: 9090}}]\n---\n",
        version.trim_start_matches('v')
    )
}

/// All of them, a waypoint in front, and routes by method: of the Service and of the gateway `front`.
const REST: &str = "\
apiVersion: v1
kind: Service
metadata: {name: calls, namespace: bookinfo, labels: {istio.io/use-waypoint: callers}}
spec: {clusterIP: 10.96.7.9, selector: {app: calls}, ports: [{name: grpc, port: 9090}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: callers, namespace: bookinfo}
spec:
  gatewayClassName: istio-waypoint
  listeners: [{name: mesh, port: 15008, protocol: HBONE}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: calls, namespace: bookinfo}
spec:
  parentRefs: [{group: '', kind: Service, name: calls}, {name: front}]
  rules:
  - matches: [{method: {service: shop.Reviews, method: List}}]
    backendRefs: [{name: calls-v2, port: 9090}]
  - matches: [{method: {service: shop.Reviews}}]
    backendRefs: [{name: calls-v1, port: 9090}]
";

/// Calls from a pod.
async fn call(stage: &Stage, (namespace, pod): (&str, &str), args: &[&str]) -> Result<Value> {
    let words = [&["bookinfo", "grpc"], args].concat();
    let output = stage.lab.exec(namespace, pod, words).await?;
    Ok(output.summary()?)
}

/// Checks calls of every kind to `at`, a host and port.
async fn calls(stage: &Stage, from: (&str, &str), at: &str) -> Result<()> {
    let url = |method: &str| format!("http://{at}/{method}");
    // Servers answer every method: UNIMPLEMENTED is ours, once the route is in force.
    until(&format!("routes of {at}"), SOON, || async {
        match call(stage, from, &[&url("other.Service/List")]).await {
            Ok(summary) if summary["heads"]["12"] == 1 => Ok(()),
            other => Err(format!(
                "{other:?} {}",
                stage.conditions("GRPCRoute", "calls")
            )),
        }
    })
    .await?;
    for (method, more, version) in [
        ("shop.Reviews/List", &["-n", "20"][..], "v2"),
        ("shop.Reviews/Add", &["-n", "20"], "v1"),
        ("shop.Reviews/List", &["-n", "20", "--gzip"], "v2"),
    ] {
        let url = url(method);
        let summary = call(stage, from, &[more, &[&url]].concat()).await?;
        let counts = [
            &summary["trailers"]["0"],
            &summary["whole"],
            &summary["versions"][version],
        ];
        ensure!(
            counts.iter().all(|count| **count == 20),
            "{url} {more:?} {summary}"
        );
    }
    // A status of the server's comes in trailers.
    let list = url("shop.Reviews/List");
    let failed = call(stage, from, &["-H", "x-fail: 5", &list]).await?;
    ensure!(failed["trailers"]["5"] == 1, "{failed}");
    Ok(())
}

/// Calls with a status that the waypoint has counted.
async fn at_waypoint(stage: &Stage, status: &str) -> Result<f64> {
    let pods = stage.lab.pods().into_iter();
    let mut found = pods.filter(|((_, name), _)| name.starts_with("callers"));
    let (_, pod) = found.next().context("no waypoint pod")?;
    let page = stage.lab.pod_page(&pod, 15020, "/metrics").await?;
    let labels = [
        ("reporter", "waypoint"),
        ("request_protocol", "grpc"),
        ("grpc_response_status", status),
        ("destination_service", "calls.bookinfo.svc.cluster.local"),
    ];
    Ok(Scrape::parse(&page).sum("istio_requests_total", &labels))
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_go_by_method_with_trailers_and_as_they_are_encoded() -> Result<()> {
    let Some(stage) = Stage::without_waypoint("grpc").await? else {
        return Ok(());
    };
    let servers = [server("v1"), server("v2")].concat();
    stage.lab.apply("calls", &format!("{servers}{REST}"))?;
    stage.lab.apply(
        "front",
        &gateway("  - {name: http, port: 80, protocol: HTTP}\n"),
    )?;
    calls(&stage, (BOOKINFO, "client"), "calls:9090").await?;
    until("all counted by the waypoint", SOON, || async {
        let mut counts = Vec::new();
        for status in ["0", "5", "12"] {
            let count = at_waypoint(&stage, status).await;
            counts.push(count.map_err(|e| format!("{e:#}"))?);
        }
        match counts[..] {
            [whole, failed, nobody] if (whole, failed) == (60.0, 1.0) && nobody >= 1.0 => Ok(()),
            _ => Err(format!("{counts:?}")),
        }
    })
    .await?;
    let door = open(&stage).await?;
    calls(&stage, ("outside", "outsider"), &format!("{door}:80")).await?;
    let failed = [("reporter", "source"), ("grpc_response_status", "5")];
    counted(&stage, &failed, 1.0).await?;
    stage.lab.down().await;
    Ok(())
}
