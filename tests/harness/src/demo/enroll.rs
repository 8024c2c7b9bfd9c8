//! Step 1: a label on the namespace; running pods join, nothing is cut, the link shows nothing readable.

use super::identities;
use super::plaintext;
use super::report::{Check, Report};
use super::scene::{Held, Scene};

/// Bytes sent between two nodes to compare with what the link shows.
const PAYLOAD: u64 = 1 << 20;
/// One service on the client's own node, one on the other.
pub const HELD: [&str; 2] = [
    "http://productpage:9080/health",
    "http://details:9080/details/0",
];

/// Runs the step.
///
/// # Errors
/// What kept it from going on.
pub async fn run(scene: &Scene<'_>, report: &mut Report) -> anyhow::Result<()> {
    let held = scene.hold(&HELD).await?;
    report.note("the namespace gets the label istio.io/dataplane-mode=ambient");
    scene.label()?;
    let pods = scene.captured(true).await?;
    report.check(Check::new(
        "pods captured while they run",
        pods,
        "all 7 of the namespace",
        pods == 7,
    ));
    report.check(survived(held, "connections that were open before").await?);
    for check in sealed(scene).await? {
        report.check(check);
    }
    report.check(identities::check(scene).await?);
    Ok(())
}

/// Held connections that had no error and were never made anew.
///
/// # Errors
/// If a client gave no summary.
pub async fn survived(held: Held, what: &str) -> anyhow::Result<Check> {
    let expected = HELD.len() as u64;
    let summary = held.end().await?;
    let (requests, connections) = (summary.requests, summary.connections);
    Ok(Check::new(
        what,
        format!(
            "{requests} requests on {connections} connections, errors {:?}",
            summary.errors
        ),
        format!("{expected} connections, no error"),
        connections == expected && summary.errors.is_empty() && requests > expected,
    ))
}

/// The page and an upload: nothing readable, and all of it on the tunnel's port.
///
/// # Errors
/// If the client could not run.
pub async fn sealed(scene: &Scene<'_>) -> anyhow::Result<Vec<Check>> {
    let capture = scene.lab.capture(&scene.marker)?;
    let page = plaintext::page(scene).await?;
    let body = PAYLOAD.to_string();
    let upload = scene
        .client(&[
            "-X",
            "POST",
            "--body-bytes",
            &body,
            "http://details:9080/upload",
        ])
        .await?;
    let seen = capture.seen();
    Ok(vec![
        page,
        Check::new(
            "the same marker on the link between the nodes",
            format!("{} times in {} frames", seen.marker, seen.frames),
            "never",
            seen.marker == 0 && seen.frames > 0,
        ),
        Check::new(
            "an upload of 1 MiB to the other node",
            format!(
                "{:?}; {} bytes by port 15008, {} by others",
                upload.statuses, seen.hbone_bytes, seen.other_bytes
            ),
            format!("{{200: 1}}; at least {PAYLOAD} bytes by port 15008"),
            upload.ok() == 1 && seen.hbone_bytes >= PAYLOAD && seen.other_bytes < PAYLOAD / 2,
        ),
    ])
}
