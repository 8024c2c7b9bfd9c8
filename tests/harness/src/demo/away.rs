//! Step 4: the controller is killed; what runs goes on, even between pods that never talked.

use anyhow::Context as _;

use super::plaintext;
use super::report::{Check, Report};
use super::scene::{BOOKINFO, Scene};
use crate::lab::DaemonKind;

/// Runs the step.
///
/// # Errors
/// What kept it from going on.
pub async fn run(scene: &Scene<'_>, report: &mut Report) -> anyhow::Result<()> {
    let controller = scene
        .lab
        .daemon(DaemonKind::Controller)
        .context("no controller")?
        .clone();
    controller.kill().await;
    report.note("kill -9 of the controller");
    report.check(first_meeting(scene).await?);
    report.check(plaintext::page(scene).await?);
    controller.start().await?;
    scene.lab.daemon_ready(&controller).await?;
    report.note("the controller is back");
    Ok(())
}

/// Details asks ratings, which it never does by itself, and the bytes are sealed.
///
/// # Errors
/// If the client could not run.
pub async fn first_meeting(scene: &Scene<'_>) -> anyhow::Result<Check> {
    let capture = scene.lab.capture(&scene.marker)?;
    let url = format!("http://ratings:9080/ratings/0?marker={}", scene.marker);
    let answer = scene.lab.http(BOOKINFO, "details-v1", &[&url]).await?;
    let seen = capture.seen();
    Ok(Check::new(
        "details (node-2) asks ratings (node-1) for the first time",
        format!(
            "{:?} {:?}, marker on the link {} times, {} bytes by port 15008",
            answer.statuses, answer.errors, seen.marker, seen.hbone_bytes
        ),
        "{200: 1}, marker never, bytes by port 15008",
        answer.ok() == 1 && seen.marker == 0 && seen.hbone_bytes > 0,
    ))
}
