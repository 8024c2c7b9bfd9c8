//! Services with a waypoint of their own, behind a gateway.

use crate::door::{answers, ask, gateway, open, route};
use crate::stage::{SOON, Stage};
use ambit_harness::demo::scene::BOOKINFO;
use ambit_harness::prometheus::Scrape;
use ambit_harness::until;
use anyhow::{Context, Result, ensure};

/// Requests through the waypoint of reviews.
async fn through(stage: &Stage) -> Result<f64> {
    let labels = [
        ("reporter", "waypoint"),
        (
            "source_principal",
            "spiffe://cluster.local/ns/bookinfo/sa/front-istio",
        ),
        ("destination_service_name", "reviews"),
    ];
    Ok(stage.metrics().await?.sum("istio_requests_total", &labels))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_passes_by_a_waypoint_unless_the_service_asks_for_it() -> Result<()> {
    let Some(stage) = Stage::up("ingresswp").await? else {
        return Ok(());
    };
    let listeners = "  - {name: http, port: 80, protocol: HTTP}\n";
    stage.lab.apply("front", &gateway(listeners))?;
    let rules = "  - backendRefs: [{name: reviews, port: 9080}]\n";
    stage.lab.apply("reviews", &route("reviews", "[]", rules))?;
    let url = format!("http://{}/echo", open(&stage).await?);
    answers(&stage, &[], &url, 200).await?;
    let answer = ask(&stage, &["-n", "20"], &url).await?;
    ensure!(answer.ok() == 20, "{answer:?}");
    ensure!(through(&stage).await? == 0.0);

    let label = "    istio.io/use-waypoint: reviews-waypoint\n";
    let both = format!("{label}    istio.io/ingress-use-waypoint: 'true'\n");
    stage.lab.edit("bookinfo", label, &both)?;
    until("requests go through the waypoint", SOON, || async {
        let answer = ask(&stage, &[], &url).await;
        match through(&stage).await {
            Ok(n) if n > 0.0 => Ok(()),
            other => Err(format!("{other:?} {answer:?}")),
        }
    })
    .await?;
    let before = through(&stage).await?;
    let answer = ask(&stage, &["-n", "20"], &url).await?;
    ensure!(answer.ok() == 20, "{answer:?}");
    until("all counted", SOON, || async {
        match through(&stage).await {
            Ok(n) if n == before + 20.0 => Ok(()),
            other => Err(format!("{before} {other:?}")),
        }
    })
    .await?;
    stage.lab.down().await;
    Ok(())
}

/// A second waypoint.
const CANARY: &str = "\
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: canary, namespace: bookinfo, labels: {istio.io/waypoint-for: service}}
spec:
  gatewayClassName: istio-waypoint
  listeners: [{name: mesh, port: 15008, protocol: HBONE}]
";

/// Requests of the gateway that the canary has served.
async fn at_canary(stage: &Stage) -> Result<u32> {
    let mut pods = stage.lab.pods().into_iter();
    let canary =
        pods.find(|((namespace, name), _)| namespace == BOOKINFO && name.starts_with("canary-"));
    let (_, pod) = canary.context("no pod of the canary")?;
    let page = stage.lab.pod_page(&pod, 15020, "/metrics").await?;
    let labels = [
        ("reporter", "waypoint"),
        (
            "source_principal",
            "spiffe://cluster.local/ns/bookinfo/sa/front-istio",
        ),
    ];
    let sum = Scrape::parse(&page).sum("istio_requests_total", &labels);
    // The sum of nothing is -0.
    Ok(format!("{:.0}", sum.abs()).parse()?)
}

/// How many of so many requests the canary served.
async fn share(stage: &Stage, (url, requests): (&str, u32)) -> Result<u32> {
    let before = at_canary(stage).await?;
    let answers = ask(stage, &["-n", &requests.to_string(), "-c", "4"], url).await?;
    ensure!(answers.ok() == u64::from(requests), "{answers:?}");
    Ok(at_canary(stage).await? - before)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_shares_requests_between_a_waypoint_and_its_canary() -> Result<()> {
    let Some(stage) = Stage::up("ingresscanary").await? else {
        return Ok(());
    };
    let listeners = "  - {name: http, port: 80, protocol: HTTP}\n";
    stage.lab.apply("front", &gateway(listeners))?;
    stage.lab.apply("canary", CANARY)?;
    let rules = "  - backendRefs: [{name: reviews, port: 9080}]\n";
    stage.lab.apply("reviews", &route("reviews", "[]", rules))?;
    let label = "    istio.io/use-waypoint: reviews-waypoint\n";
    let shared = format!(
        "{label}    istio.io/use-waypoint-canary: canary\n    istio.io/ingress-use-waypoint: 'true'\n  \
         annotations:\n    istio.io/use-waypoint-canary-weight: '25'\n"
    );
    stage.lab.edit("bookinfo", label, &shared)?;
    let said = ["25 of 100 connections go to canary bookinfo/canary"];
    stage.status_has("Service", "reviews", &said).await?;
    let url = format!("http://{}/echo", open(&stage).await?);
    answers(&stage, &[], &url, 200).await?;
    until("requests go through both", SOON, || async {
        match share(&stage, (&url, 40)).await {
            Ok(1..) => Ok(()),
            other => Err(format!("{other:?}")),
        }
    })
    .await?;
    // Each worker takes turns: of every four requests one goes there, wherever its round begins.
    let quarter = share(&stage, (&url, 400)).await?;
    ensure!((90..=110).contains(&quarter), "{quarter} of 400");
    for (from, to, all) in [("'25'", "'100'", 20), ("'100'", "'0'", 0)] {
        let (from, to) = (
            format!("canary-weight: {from}"),
            format!("canary-weight: {to}"),
        );
        stage.lab.edit("bookinfo", &from, &to)?;
        until(&format!("{all} of 20 go to the canary"), SOON, || async {
            match share(&stage, (&url, 20)).await {
                Ok(share) if share == all => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await?;
    }
    stage.lab.down().await;
    Ok(())
}
