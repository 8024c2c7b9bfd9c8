//! Services with a waypoint of their own, behind a gateway.

use crate::door::{answers, ask, gateway, open, route};
use crate::stage::{SOON, Stage};
use ambit_harness::until;
use anyhow::{Result, ensure};

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
