//! What runs a gateway, as its user shapes it, and nodes that the mesh leaves.

use ambit_kubernetes_tests::{Site, can_run, gateways};
use anyhow::Result;

#[test]
fn gateways_are_shaped_by_overlays_and_nodes_are_left_by_label() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let site = Site::with(&format!("w{}", std::process::id()), &gateways::SAMPLES)?;
    gateways::run(&site)?;
    site.down()
}
