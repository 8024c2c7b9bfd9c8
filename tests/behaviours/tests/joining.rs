//! Pods join and leave the mesh while they run.

use ambit_behaviours::{all_held, can_run, joined, outside, report};
use ambit_harness::demo::{Scene, enroll, leave, metrics, plaintext};
use anyhow::Result;

#[tokio::test(flavor = "multi_thread")]
async fn before_anybody_joins_the_link_between_nodes_can_be_read() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let lab = outside("plaintext").await?;
    let mut report = report();
    plaintext::run(&Scene::new(&lab), &mut report).await?;
    all_held(&report);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_label_makes_running_pods_join_cuts_nothing_and_seals_the_link() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let lab = outside("join").await?;
    let mut report = report();
    enroll::run(&Scene::new(&lab), &mut report).await?;
    all_held(&report);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_label_pods_leave_live_connections_go_on_and_the_link_is_plain_again()
-> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let lab = joined("leave").await?;
    let mut report = report();
    leave::run(&Scene::new(&lab), &mut report).await?;
    all_held(&report);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn one_connection_is_counted_once_by_each_end_with_both_identities() -> Result<()> {
    if !can_run() {
        return Ok(());
    }
    let lab = outside("count").await?;
    let mut report = report();
    metrics::run(&Scene::new(&lab), &mut report).await?;
    all_held(&report);
    Ok(())
}
