//! `ambit explain connection` through a waypoint says what a request then does.

#[path = "routing/stage.rs"]
#[allow(dead_code, reason = "shared with other tests of waypoints")]
mod stage;

use ambit_harness::demo::Scene;
use ambit_harness::until;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use stage::{REVIEWS, SOON, Stage, VERSION};
use std::process::Command;

/// Runs `ambit explain connection` from the client pod: whether all is well, and what it printed.
async fn explain(stage: &Stage, args: &[&str]) -> Result<(bool, String)> {
    let mut command = Command::new(stage.lab.programs().join("ambit"));
    command.arg("--lab").arg(stage.lab.name().to_string());
    command.args(["explain", "connection", "--from", "bookinfo/client"]);
    command.args(args);
    let output = tokio::task::spawn_blocking(move || command.output()).await??;
    let printed = String::from_utf8(output.stdout)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    match output.status.code() {
        Some(0) => Ok((true, printed)),
        Some(1) => Ok((false, printed)),
        _ => Err(anyhow::anyhow!("{}: {said}", output.status)),
    }
}

async fn json(stage: &Stage, args: &[&str]) -> Result<(bool, Value)> {
    let (fine, text) = explain(stage, &[&["-o", "json"][..], args].concat()).await?;
    Ok((fine, serde_json::from_str(&text).context(text)?))
}

#[tokio::test(flavor = "multi_thread")]
async fn explain_follows_a_request_through_its_waypoint_and_real_ones_go_the_same_way() -> Result<()>
{
    let Some(stage) = Stage::up("wpexplain").await? else {
        return Ok(());
    };
    let scene = Scene::new(&stage.lab);
    let jason = "networking/virtual-service-reviews-jason-v2-v3.yaml";
    scene.apply_as("virtual-service-reviews", jason)?;
    let url = format!("{REVIEWS}/reviews/0");
    let to = ["--to", "reviews:9080", "--path", "/x/../reviews/0"];
    for (header, version) in [("end-user: jason", "v2"), ("end-user: nobody", "v3")] {
        until("the rules in force", SOON, || async {
            let args = ["-n", "5", "--count-header", VERSION, "-H", header, &url];
            match stage.client(&args).await {
                Ok(answers) if answers.header(VERSION, version) == 5 => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await?;
        let args = [&to[..], &["--header", header]].concat();
        let (fine, answer) = json(&stage, &args).await?;
        let said = &answer["waypoint"]["explanation"];
        ensure!(fine && answer["refused"] == false && said["refused"] == false);
        let endpoint = said["endpoint"].as_str().unwrap_or_default();
        let pod = format!("bookinfo/reviews-{version} at ");
        ensure!(endpoint.starts_with(&pod), "{answer:#}");
        ensure!(endpoint.ends_with(":9080"), "{answer:#}");
        let route = said["route"].as_str().unwrap_or_default();
        ensure!(route.contains("VirtualService"), "{answer:#}");
        let told = said["trace"].to_string();
        ensure!(told.contains("is normalised to /reviews/0"), "{told}");

        let (fine, text) = explain(&stage, &args).await?;
        for word in [
            "decided by the proxy of node-1",
            "decided by the waypoint",
            &pod,
        ] {
            ensure!(fine && text.contains(word), "no {word} in {text}");
        }
    }
    let nowhere = ["--to", "reviews:9080", "--path", "/a%00"];
    let (fine, answer) = json(&stage, &nowhere).await?;
    let decision = answer["waypoint"]["explanation"]["decision"].to_string();
    ensure!(
        !fine && decision.contains("answered with 400"),
        "{answer:#}"
    );
    let (fine, answer) = json(&stage, &["--to", "ratings:9080"]).await?;
    ensure!(fine && answer.get("waypoint").is_none(), "{answer:#}");
    stage.lab.down().await;
    Ok(())
}
