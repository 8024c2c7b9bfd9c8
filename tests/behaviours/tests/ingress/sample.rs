//! The public sample of bookinfo through a Gateway: the same paths, nothing else.

use crate::door::{answers, ask, counted, gateway, open, pod, route};
use crate::stage::Stage;
use anyhow::{Result, ensure};

const LISTENERS: &str = "  - {name: http, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: Same}}}\n  \
                         - {name: tls, port: 443, protocol: HTTPS}\n";
/// Rules of the sample's HTTPRoute.
const RULES: &str = "  - matches:\n    - path: {type: Exact, value: /productpage}\n    \
                     - path: {type: PathPrefix, value: /static}\n    \
                     - path: {type: Exact, value: /login}\n    \
                     - path: {type: Exact, value: /logout}\n    \
                     - path: {type: PathPrefix, value: /api/v1/products}\n    \
                     backendRefs: [{name: productpage, port: 9080}]\n";
/// What the gateway says of requests to productpage.
const PAGE: [(&str, &str); 6] = [
    ("reporter", "source"),
    ("connection_security_policy", "mutual_tls"),
    (
        "source_principal",
        "spiffe://cluster.local/ns/bookinfo/sa/front-istio",
    ),
    (
        "destination_service",
        "productpage.bookinfo.svc.cluster.local",
    ),
    ("destination_workload", "productpage-v1"),
    (
        "destination_principal",
        "spiffe://cluster.local/ns/bookinfo/sa/bookinfo-productpage",
    ),
];

fn statuses_said(stage: &Stage) -> String {
    stage.conditions("Gateway", "front")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sample_is_reached_from_outside_by_its_paths_alone_and_in_mutual_tls_behind()
-> Result<()> {
    let Some(stage) = Stage::without_waypoint("ingress").await? else {
        return Ok(());
    };
    stage.lab.apply("front", &gateway(LISTENERS))?;
    stage
        .lab
        .apply("bookinfo-route", &route("bookinfo", "[]", RULES))?;
    let door = format!("http://{}", open(&stage).await?);
    answers(&stage, &[], &format!("{door}/productpage"), 200).await?;

    let page = ask(&stage, &["-n", "20"], &format!("{door}/productpage")).await?;
    ensure!(page.ok() == 20, "{page:?}");
    let api = ask(&stage, &[], &format!("{door}/api/v1/products/0/reviews")).await?;
    ensure!(api.ok() == 1, "{api:?}");
    // The sample's server has no such pages: its own 404s name the destination.
    for path in ["/static/a.css", "/static/b.css", "/api/v1/products/none"] {
        let answer = ask(&stage, &[], &format!("{door}{path}")).await?;
        ensure!(answer.statuses.get(&404) == Some(&1), "{path} {answer:?}");
    }
    let served = [&PAGE[..], &[("response_code", "404")]].concat();
    counted(&stage, &served, 3.0).await?;
    let nothing = ["/", "/productpage/x", "/staticx", "/login/x", "/reviews/0"];
    for path in nothing {
        let answer = ask(&stage, &[], &format!("{door}{path}")).await?;
        ensure!(answer.statuses.get(&404) == Some(&1), "{path} {answer:?}");
    }
    let refused = [("reporter", "source"), ("response_flags", "NR")];
    let lost = crate::door::metrics(&stage).await?;
    let lost = lost.sum("istio_requests_total", &refused);
    ensure!(lost >= 5.0, "{lost}");

    let words = ["reason: Programmed", "value: \"10.96.", "attachedRoutes: 1"];
    stage.status_has("Gateway", "front", &words).await?;
    let words = [
        "reason: UnsupportedProtocol",
        "protocol HTTPS is not supported",
    ];
    stage.status_has("Gateway", "front", &words).await?;
    let words = ["name: front", "reason: Accepted", "reason: ResolvedRefs"];
    stage.status_has("HTTPRoute", "bookinfo", &words).await?;
    destination_sees_the_gateway(&stage).await?;

    // A later listener opens without a restart, and one that is gone closes.
    let (before, _) = pod(&stage)?;
    let second = gateway("  - {name: other, port: 8080, protocol: HTTP}\n");
    stage.lab.apply("front", &second)?;
    answers(&stage, &[], &format!("{door}:8080/productpage"), 200).await?;
    ambit_harness::until("the first listener closed", crate::stage::SOON, || async {
        match ask(&stage, &[], &format!("{door}/productpage")).await {
            Ok(answer) if answer.statuses.is_empty() => Ok(()),
            other => Err(format!("{other:?} {}", statuses_said(&stage))),
        }
    })
    .await?;
    ensure!(pod(&stage)?.0 == before, "the same pod");
    stage.lab.down().await;
    Ok(())
}

/// The node proxy of productpage counted connections from the gateway's identity.
async fn destination_sees_the_gateway(stage: &Stage) -> Result<()> {
    let labels = [
        ("reporter", "destination"),
        ("connection_security_policy", "mutual_tls"),
        (
            "source_principal",
            "spiffe://cluster.local/ns/bookinfo/sa/front-istio",
        ),
        ("destination_workload", "productpage-v1"),
    ];
    ambit_harness::until("the destination's metrics", crate::stage::SOON, || async {
        let mut sum = 0.0;
        for n in 1..=2 {
            let node = ambit_behaviours::town::node(n);
            let metrics = stage.lab.ztunnel_metrics(node).await;
            let metrics = metrics.map_err(|e| e.to_string())?;
            sum += metrics.sum("istio_tcp_connections_opened_total", &labels);
        }
        if sum >= 1.0 {
            Ok(())
        } else {
            Err("none".to_owned())
        }
    })
    .await?;
    Ok(())
}
