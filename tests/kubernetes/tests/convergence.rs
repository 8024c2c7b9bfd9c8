//! Events out of order, and parts that are away.

use ambit_kubernetes_tests::{Site, can_run, convergence};
use anyhow::Result;

#[test]
fn whatever_the_order_of_events_the_mesh_converges_and_nothing_encrypted_becomes_plaintext()
-> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let site = Site::up(&format!("o{}", std::process::id()))?;
    convergence::run(&site)?;
    site.down()
}
