//! Step 3: a policy refuses whoever has no identity of the namespace; the refusal says who and why.

use anyhow::Context as _;

use super::plaintext;
use super::report::{Check, Report};
use super::scene::{SOON, Scene};
use crate::lab::DaemonKind;
use crate::names::NodeNumber;
use crate::wait::until;

/// Runs the step; the policy is gone afterwards.
///
/// # Errors
/// What kept it from going on.
pub async fn run(scene: &Scene<'_>, report: &mut Report) -> anyhow::Result<()> {
    report.check(plaintext::outsider(scene).await?);
    report.note("cp policy/deny-outsider.yaml DIR");
    scene.apply(&["policy/deny-outsider.yaml"])?;
    let refused = refused(scene, report).await;
    scene.lab.remove("deny-outsider")?;
    refused?;
    until("the outsider let in again", SOON, || async {
        let check = plaintext::outsider(scene)
            .await
            .map_err(|e| format!("{e:#}"))?;
        if check.held { Ok(()) } else { Err(check.seen) }
    })
    .await?;
    Ok(())
}

async fn refused(scene: &Scene<'_>, report: &mut Report) -> anyhow::Result<()> {
    let answer = until("the outsider refused", SOON, || async {
        let check = plaintext::outsider(scene)
            .await
            .map_err(|e| format!("{e:#}"))?;
        if check.held {
            Err(check.seen)
        } else {
            Ok(check.seen)
        }
    })
    .await?;
    report.check(Check::new(
        "the outsider asks again",
        answer,
        "no answer",
        true,
    ));
    report.check(plaintext::page(scene).await?);
    let line = log_line(scene).await?;
    report.check(Check::new(
        "the refusing proxy's log",
        &line,
        "who was refused, by which policy and rule",
        line.contains("deny-outsider"),
    ));
    Ok(())
}

/// The line in which productpage's proxy says that it refused the outsider.
///
/// # Errors
/// If there is none.
pub async fn log_line(scene: &Scene<'_>) -> anyhow::Result<String> {
    let from = scene
        .lab
        .pod_address("outside", "outsider")
        .context("the outsider has no address")?;
    let from = from.to_string();
    let node = DaemonKind::Ztunnel(NodeNumber::new(1));
    let line = until("a log line about the refusal", SOON, || async {
        // The first refusal may have been of a connection that was there before the policy.
        let check = plaintext::outsider(scene)
            .await
            .map_err(|e| format!("{e:#}"))?;
        let log = scene.lab.log(node);
        let found = log
            .lines()
            .rev()
            .find(|line| line.contains("deny-outsider") && line.contains(&from));
        found.map(str::to_owned).ok_or(check.seen)
    })
    .await?;
    Ok(line)
}
