//! Istio's getting-started guide for ambient mode on a real cluster.

use ambit_kubernetes_tests::{Site, can_run, guide};
use anyhow::Result;

#[test]
fn the_getting_started_guide_works_on_a_real_cluster_and_leaves_nothing_behind() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let site = Site::up(&format!("g{}", std::process::id()))?;
    guide::run(&site)?;
    site.down()
}
