//! A second waypoint beside the first: it takes its part of the connections, and none with a wrong weight.

use super::stage::{REVIEWS, SOON, Stage};
use ambit_harness::demo::scene::BOOKINFO;
use ambit_harness::until;
use anyhow::{Context, Result, ensure};

const GATEWAY: &str = "\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: canary, namespace: bookinfo, labels: {istio.io/waypoint-for: service}}
spec:
  gatewayClassName: istio-waypoint
  listeners: [{name: mesh, port: 15008, protocol: HBONE}]
";
const LABEL: &str = "    istio.io/use-waypoint: reviews-waypoint\n";

fn named(percent: u32) -> String {
    format!(
        "{LABEL}    istio.io/use-waypoint-canary: canary\n  annotations:\n    \
         istio.io/use-waypoint-canary-weight: '{percent}'\n"
    )
}

async fn said(stage: &Stage, words: &[&str]) -> Result<()> {
    stage.status_has("Service", "reviews", words).await
}

/// Asks so often, a connection each; how many of the requests the canary answered.
async fn share(stage: &Stage, requests: u32) -> Result<u32> {
    let before = seen(stage).await?;
    let (n, url) = (requests.to_string(), format!("{REVIEWS}/reviews/0"));
    let answers = stage.client(&["-n", &n, "-c", "4", &url]).await?;
    ensure!(answers.ok() == u64::from(requests), "{answers:?}");
    Ok(seen(stage).await? - before)
}

/// Requests that the canary has served.
async fn seen(stage: &Stage) -> Result<u32> {
    let mut pods = stage.lab.pods().into_iter();
    let canary =
        pods.find(|((namespace, name), _)| namespace == BOOKINFO && name.starts_with("canary"));
    let (_, pod) = canary.context("no pod of the canary")?;
    let page = stage.lab.pod_page(&pod, 15020, "/metrics").await?;
    let scrape = ambit_harness::prometheus::Scrape::parse(&page);
    let sum = scrape.sum("istio_requests_total", &[("reporter", "waypoint")]);
    // The sum of nothing is -0.
    Ok(format!("{:.0}", sum.abs()).parse()?)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_waypoint_takes_its_part_of_the_connections_and_with_a_wrong_weight_none()
-> Result<()> {
    let Some(stage) = Stage::up("canary").await? else {
        return Ok(());
    };
    stage.lab.edit("bookinfo", LABEL, &named(25))?;
    said(&stage, &["canary bookinfo/canary is not ready"]).await?;
    stage.lab.apply("canary", GATEWAY)?;
    said(
        &stage,
        &["25 of 100 connections go to canary bookinfo/canary"],
    )
    .await?;
    until("the node proxies know", SOON, || async {
        match share(&stage, 40).await {
            Ok(1..) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    let quarter = share(&stage, 400).await?;
    // Mean 100, standard deviation 8.7: four of them.
    ensure!((66..=134).contains(&quarter), "{quarter} of 400");

    stage
        .lab
        .edit("bookinfo", "canary-weight: '25'", "canary-weight: '100'")?;
    said(&stage, &["100 of 100 connections"]).await?;
    until("all go to the canary", SOON, || async {
        match share(&stage, 20).await {
            Ok(20) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    stage
        .lab
        .edit("bookinfo", "canary-weight: '100'", "canary-weight: all")?;
    said(&stage, &["CanaryInvalidWeight"]).await?;
    until("none go to the canary", SOON, || async {
        match share(&stage, 20).await {
            Ok(0) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    stage.lab.down().await;
    Ok(())
}
