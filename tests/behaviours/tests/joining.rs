//! Pods join and leave the mesh while they run.

use std::time::Duration;

use ambit_api::ports;
use ambit_behaviours::{all_held, can_run, joined, outside, report};
use ambit_harness::demo::scene::BOOKINFO;
use ambit_harness::demo::{Scene, enroll, leave, metrics, plaintext};
use ambit_harness::names::NodeNumber;
use ambit_harness::{Lab, until};
use anyhow::{Context as _, Result, ensure};

const SOON: Duration = Duration::from_secs(30);
/// On the other node than the client.
const DETAILS: &str = "http://details:9080/details/0";

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

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_whose_enrolment_fails_half_way_works_as_before_and_joins_once_it_can() -> Result<()>
{
    if !can_run() {
        return Ok(());
    }
    let lab = outside("halfway").await?;
    let scene = Scene::new(&lab);
    // The application has a port of the mesh: routing is done when the listener turns out to be impossible.
    let serve = ["bookinfo", "tcp-serve", "--listen", "0.0.0.0:15008"];
    let mut obstacle = lab.start_in(BOOKINFO, "client", serve).await?;
    until("the application has the port", SOON, || async {
        match listeners(&lab).await {
            Ok(all) if all == ["0.0.0.0:15008"] => Ok(()),
            other => Err(other),
        }
    })
    .await?;
    scene.label()?;
    until(
        "the pod's enrolment fails and leaves nothing",
        SOON,
        || async {
            let pod = client_pod(&lab).await.map_err(|e| format!("{e:#}"))?;
            let (traces, listeners) = (traces(&lab).await, listeners(&lab).await);
            let failed = pod["error"].as_str().is_some_and(|e| e.contains("15008"));
            let nothing = pod["state"] == "pending" && pod["workers"].is_null();
            match (traces, listeners) {
                (Ok(traces), Ok(listeners))
                    if failed && nothing && traces.is_empty() && listeners == ["0.0.0.0:15008"] =>
                {
                    Ok(())
                }
                (traces, listeners) => Err(format!("{pod} {traces:?} {listeners:?}")),
            }
        },
    )
    .await?;
    let capture = lab.capture("")?;
    let answers = scene.client(&["-n", "20", DETAILS]).await?;
    let seen = capture.seen();
    ensure!(answers.ok() == 20, "{answers:?}");
    ensure!(
        seen.hbone_bytes == 0 && seen.other_bytes > 0,
        "as before the mesh: {seen:?}"
    );

    obstacle.kill().await;
    let pods = scene.captured(true).await?;
    ensure!(pods == 7, "{pods} pods captured");
    ensure!(!traces(&lab).await?.is_empty());
    for check in enroll::sealed(&scene).await? {
        ensure!(check.held, "{check:?}");
    }
    lab.down().await;
    Ok(())
}

/// The client pod as its agent shows it.
async fn client_pod(lab: &Lab) -> Result<serde_json::Value> {
    let page = lab
        .page(NodeNumber::new(1), ports::CONTROL_METRICS, "/debug/pods")
        .await?;
    let view: serde_json::Value = serde_json::from_str(&page)?;
    let mut pods = view["pods"].as_array().into_iter().flatten();
    let client = pods.find(|pod| pod["name"] == "client");
    client.cloned().context("the agent does not know the pod")
}

/// Rules by mark and routes of capture's tables in the client pod.
async fn traces(lab: &Lab) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for words in [
        vec!["ip", "rule", "show"],
        vec!["ip", "-6", "rule", "show"],
        vec!["ip", "route", "show", "table", "all"],
        vec!["ip", "-6", "route", "show", "table", "all"],
    ] {
        let output = lab.exec(BOOKINFO, "client", words).await?;
        let ours = ["fwmark", "table 100", "table 101"];
        let lines = output.stdout.lines();
        found.extend(
            lines
                .filter(|line| ours.iter().any(|part| line.contains(part)))
                .map(str::to_owned),
        );
    }
    Ok(found)
}

/// Where TCP listeners of the client pod are bound.
async fn listeners(lab: &Lab) -> Result<Vec<String>> {
    let output = lab.exec(BOOKINFO, "client", ["ss", "-Hltn"]).await?;
    let lines = output.stdout.lines();
    Ok(lines
        .filter_map(|line| line.split_whitespace().nth(3).map(str::to_owned))
        .collect())
}
