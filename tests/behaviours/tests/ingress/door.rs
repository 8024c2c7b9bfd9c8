//! A gateway in a lab and somebody outside the mesh who dials it.
//! In: a stage. Out: answers, metrics and statuses.

use crate::stage::{SOON, Stage};
use ambit_harness::client::HttpSummary;
use ambit_harness::demo::scene::BOOKINFO;
use ambit_harness::kubelet::status::PodEntry;
use ambit_harness::prometheus::Scrape;
use ambit_harness::until;
use anyhow::{Context, Result};
use std::net::Ipv4Addr;

/// A Gateway of class istio with these listeners, whose pods have the label that the sample's
/// networking.istio.io Gateway selects.
pub(crate) fn gateway(listeners: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\n\
         metadata: {{name: front, namespace: bookinfo}}\n\
         spec:\n  gatewayClassName: istio\n  \
         infrastructure: {{labels: {{istio: ingressgateway}}}}\n  listeners:\n{listeners}"
    )
}

/// An HTTPRoute of the Gateway.
pub(crate) fn route(name: &str, hostnames: &str, rules: &str) -> String {
    format!(
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\n\
         metadata: {{name: {name}, namespace: bookinfo}}\nspec:\n  \
         parentRefs: [{{name: front}}]\n  hostnames: {hostnames}\n  rules:\n{rules}"
    )
}

/// The gateway's pod.
pub(crate) fn pod(stage: &Stage) -> Result<(String, PodEntry)> {
    let pods = stage.lab.pods();
    let found = pods.into_iter().find(|((namespace, name), pod)| {
        namespace == BOOKINFO && name.starts_with("front-istio-") && pod.state.ready
    });
    let ((_, name), entry) = found.context("no ready gateway pod")?;
    Ok((name, entry))
}

/// Waits for the pod; gives its address.
pub(crate) async fn open(stage: &Stage) -> Result<Ipv4Addr> {
    let address = until("a ready gateway pod", SOON, || async {
        let (name, _) = pod(stage).map_err(|e| e.to_string())?;
        let address = stage.lab.pod_address(BOOKINFO, &name);
        address.ok_or_else(|| "no address".to_owned())
    });
    Ok(address.await?)
}

/// `bookinfo client` in a pod outside the mesh.
pub(crate) async fn ask(stage: &Stage, args: &[&str], url: &str) -> Result<HttpSummary> {
    let args: Vec<&str> = args.iter().copied().chain([url]).collect();
    Ok(stage.lab.http("outside", "outsider", &args).await?)
}

/// Waits until one request is answered with `status`.
pub(crate) async fn answers(stage: &Stage, args: &[&str], url: &str, status: u16) -> Result<()> {
    until(&format!("{args:?} {url} gives {status}"), SOON, || async {
        match ask(stage, args, url).await {
            Ok(answer) if answer.statuses.get(&status) == Some(&1) => Ok(()),
            other => Err(format!(
                "{other:?} {}",
                stage.conditions("Gateway", "front")
            )),
        }
    })
    .await?;
    Ok(())
}

/// The gateway's metrics.
pub(crate) async fn metrics(stage: &Stage) -> Result<Scrape> {
    let (_, pod) = pod(stage)?;
    Ok(Scrape::parse(
        &stage.lab.pod_page(&pod, 15020, "/metrics").await?,
    ))
}

/// Waits until the gateway has counted `n` requests with these labels.
pub(crate) async fn counted(stage: &Stage, labels: &[(&str, &str)], n: f64) -> Result<()> {
    until(&format!("{n} × {labels:?}"), SOON, || async {
        let scrape = metrics(stage).await.map_err(|e| format!("{e:#}"))?;
        match scrape.sum("istio_requests_total", labels) {
            sum if sum == n => Ok(()),
            sum => Err(format!("{sum}")),
        }
    })
    .await?;
    Ok(())
}
