//! Waypoints for pods (`istio.io/waypoint-for: workload`): whoever dials a pod itself goes through them,
//! whoever dials a Service does not.

#[path = "routing/stage.rs"]
#[allow(dead_code, reason = "shared with other tests of waypoints")]
mod stage;

use ambit_harness::demo::scene::BOOKINFO;
use ambit_harness::prometheus::Scrape;
use ambit_harness::until;
use anyhow::{Context, Result, ensure};
use stage::{REVIEWS, SOON, Stage, VERSION};

/// A waypoint for the namespace's pods.
const GATEWAY: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: pods, namespace: bookinfo, labels: {istio.io/waypoint-for: workload}}
spec:
  gatewayClassName: istio-waypoint
  listeners: [{name: mesh, port: 15008, protocol: HBONE}]
";
/// Line of the namespace beside which its label goes.
const LABELS: &str = "    app: bookinfo\n";

/// Requests of each kind.
const REQUESTS: u64 = 20;

/// The waypoint's metrics, once it is ready.
async fn metrics(stage: &Stage) -> Result<Scrape> {
    let pods = stage.lab.pods();
    let waypoint = pods.iter().find(|((namespace, name), pod)| {
        namespace == BOOKINFO && name.starts_with("pods-") && pod.state.ready
    });
    let (_, pod) = waypoint.context("no ready waypoint")?;
    let page = stage.lab.pod_page(pod, 15020, "/metrics").await?;
    Ok(Scrape::parse(&page))
}

async fn through(stage: &Stage, labels: &[(&str, &str)]) -> Result<f64> {
    Ok(metrics(stage).await?.sum("istio_requests_total", labels))
}

async fn get(stage: &Stage, n: u64, url: &str) -> Result<u64> {
    let n = n.to_string();
    let args = ["-n", &n, "--count-header", VERSION, url];
    let answers = stage.client(&args).await?;
    ensure!(answers.errors.is_empty(), "{answers:?}");
    Ok(answers.ok())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_dialled_by_its_own_address_is_reached_through_its_waypoint() -> Result<()> {
    let Some(stage) = Stage::without_waypoint("wppods").await? else {
        return Ok(());
    };
    stage.lab.apply("pods-waypoint", GATEWAY)?;
    let label = format!("{LABELS}    istio.io/use-waypoint: pods\n");
    stage.lab.edit("namespace", LABELS, &label)?;
    let ip = stage.lab.pod_address(BOOKINFO, "reviews-v1");
    let pod = format!("http://{}:9080/reviews/0", ip.context("no address")?);
    let labels = [
        ("reporter", "waypoint"),
        ("destination_workload", "reviews-v1"),
        ("source_workload", "client"),
        ("response_code", "200"),
        ("connection_security_policy", "mutual_tls"),
    ];
    until("requests to the pod go through", SOON, || async {
        let asked = get(&stage, 1, &pod).await;
        match through(&stage, &labels).await {
            Ok(n) if n > 0.0 => Ok(()),
            other => Err(format!("{other:?}; {asked:?}")),
        }
    })
    .await?;
    let before = through(&stage, &labels).await?;
    ensure!(get(&stage, REQUESTS, &pod).await? == REQUESTS);
    let now = until("all counted", SOON, || async {
        match through(&stage, &labels).await {
            Ok(now) if now >= before + REQUESTS as f64 => Ok(now),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    ensure!(now == before + REQUESTS as f64, "{before} {now}");

    let all = through(&stage, &[("reporter", "waypoint")]).await?;
    let service = format!("{REVIEWS}/reviews/0");
    ensure!(get(&stage, REQUESTS, &service).await? == REQUESTS);
    let after = through(&stage, &[("reporter", "waypoint")]).await?;
    ensure!(all == after, "Services pass by: {all} {after}");
    stage.lab.down().await;
    Ok(())
}
