//! Step 6: what one connection adds to the metrics of both nodes.

use super::report::{Check, Report};
use super::scene::{BOOKINFO, SOON, Scene};
use crate::names::NodeNumber;
use crate::wait::until;

/// Counts connections by both ends.
const OPENED: &str = "istio_tcp_connections_opened_total";

/// Runs the step.
///
/// # Errors
/// What kept it from going on.
pub async fn run(scene: &Scene<'_>, report: &mut Report) -> anyhow::Result<()> {
    scene.label()?;
    scene.captured(true).await?;
    let ends = [
        ("source", NodeNumber::new(1)),
        ("destination", NodeNumber::new(2)),
    ];
    let mut before = Vec::new();
    for (reporter, node) in ends {
        before.push(opened(scene, reporter, node).await?);
    }
    report.note("client (node-1) asks details (node-2) once");
    let answer = scene.client(&["http://details:9080/details/0"]).await?;
    anyhow::ensure!(answer.ok() == 1, "the request: {answer:?}");
    for ((reporter, node), before) in ends.into_iter().zip(before) {
        let after = until("the connection counted", SOON, || async {
            let after = opened(scene, reporter, node)
                .await
                .map_err(|e| format!("{e:#}"))?;
            if after > before {
                Ok(after)
            } else {
                Err(after.to_string())
            }
        })
        .await;
        let after = after.unwrap_or(before);
        report.check(Check::new(
            &format!("{OPENED}{{reporter=\"{reporter}\", …}} on {}", node.name()),
            format!("before {}, after {after}", before.abs()),
            "one more",
            (after - before - 1.0).abs() < f64::EPSILON,
        ));
    }
    Ok(())
}

/// Connections from client to details, mutually authenticated, as one end counts them.
///
/// # Errors
/// If the proxy does not answer.
pub async fn opened(scene: &Scene<'_>, reporter: &str, node: NodeNumber) -> anyhow::Result<f64> {
    let labels = [
        ("reporter", reporter),
        ("source_workload", "client"),
        ("source_workload_namespace", BOOKINFO),
        ("destination_workload", "details-v1"),
        ("destination_workload_namespace", BOOKINFO),
        (
            "source_principal",
            "spiffe://cluster.local/ns/bookinfo/sa/client",
        ),
        (
            "destination_principal",
            "spiffe://cluster.local/ns/bookinfo/sa/bookinfo-details",
        ),
        ("connection_security_policy", "mutual_tls"),
    ];
    Ok(scene.lab.ztunnel_metrics(node).await?.sum(OPENED, &labels))
}
