//! Step 5: the label goes; pods leave, live connections go on, bookinfo works as before the mesh.

use super::enroll::{HELD, survived};
use super::plaintext;
use super::report::{Check, Report};
use super::scene::Scene;

/// Runs the step.
///
/// # Errors
/// What kept it from going on.
pub async fn run(scene: &Scene<'_>, report: &mut Report) -> anyhow::Result<()> {
    let held = scene.hold(&HELD).await?;
    // They must be connections of the mesh: answered before the label goes.
    let warm = scene
        .client(&["-n", "20", "http://details:9080/details/0"])
        .await?;
    anyhow::ensure!(warm.ok() == 20, "requests before the label goes: {warm:?}");
    report.note("the label istio.io/dataplane-mode is removed");
    scene.unlabel()?;
    let pods = scene.captured(false).await?;
    report.check(Check::new(
        "pods released while they run",
        pods,
        "all 7 of the namespace",
        pods == 7,
    ));
    report.check(survived(held, "connections that were open in the mesh").await?);
    let capture = scene.lab.capture(&scene.marker)?;
    report.check(plaintext::page(scene).await?);
    let seen = capture.seen();
    report.check(Check::new(
        "the marker on the link",
        format!(
            "{} times, {} bytes by port 15008",
            seen.marker, seen.hbone_bytes
        ),
        "at least once: plain again",
        seen.marker > 0,
    ));
    Ok(())
}
