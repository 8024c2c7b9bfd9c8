//! Rolling restarts of every part under load.

use ambit_kubernetes_tests::{Site, can_run, rolling};
use anyhow::Result;

#[test]
fn no_request_is_lost_while_parts_of_the_mesh_are_replaced() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let site = Site::up(&format!("r{}", std::process::id()))?;
    rolling::run(&site)?;
    site.down()
}
