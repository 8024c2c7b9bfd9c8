//! Istio's guides on traffic, workloads, metrics and waypoints on a real cluster.

use ambit_kubernetes_tests::{Site, can_run, guides};
use anyhow::Result;

#[test]
fn the_guides_on_traffic_workloads_metrics_and_waypoints_hold_on_a_real_cluster() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let site = Site::with(&format!("h{}", std::process::id()), &guides::SAMPLES)?;
    guides::run(&site)?;
    site.down()
}
