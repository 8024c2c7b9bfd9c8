//! What a waypoint does with requests, and what one of a third party is told of connections.

#[path = "waypoint/sandwich.rs"]
mod sandwich;

use ambit_behaviours::{all_held, can_run, joined, report};
use ambit_harness::demo::{Scene, waypoint};
use anyhow::Result;

#[tokio::test(flavor = "multi_thread")]
async fn virtual_service_files_decide_the_split_and_the_header_match() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let lab = joined("split").await?;
    let mut report = report();
    waypoint::run(&Scene::new(&lab), &mut report).await?;
    all_held(&report);
    Ok(())
}
