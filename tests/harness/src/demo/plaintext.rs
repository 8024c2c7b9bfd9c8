//! Step 0: bookinfo without a mesh; what crosses the link between nodes can be read.

use super::report::{Check, Report};
use super::scene::{BOOKINFO, SOON, Scene};

/// The sample's files that need no mesh.
pub const FILES: [&str; 4] = [
    "namespace.yaml",
    "bookinfo.yaml",
    "client.yaml",
    "outsider.yaml",
];

/// Runs the step.
///
/// # Errors
/// What kept it from going on.
pub async fn run(scene: &Scene<'_>, report: &mut Report) -> anyhow::Result<()> {
    scene.apply(&FILES)?;
    scene.lab.pods_ready(SOON).await?;
    let pods = scene.lab.pods();
    let on = |node: &str| pods.values().filter(|pod| pod.node == node).count();
    report.note(&format!(
        "{} pods run on node-1, {} on node-2",
        on("node-1"),
        on("node-2")
    ));
    let capture = scene.lab.capture(&scene.marker)?;
    report.check(page(scene).await?);
    report.check(outsider(scene).await?);
    let seen = capture.seen();
    report.check(Check::new(
        "the marker in the request on the link between the nodes",
        format!("{} times in {} frames", seen.marker, seen.frames),
        "at least once: anybody on the wire can read it",
        seen.marker > 0,
    ));
    Ok(())
}

/// The product page, by Service name, through every service.
///
/// # Errors
/// If the client could not run.
pub async fn page(scene: &Scene<'_>) -> anyhow::Result<Check> {
    let url = scene.page_url();
    let answer = scene.client(&[&url]).await?;
    let body = answer.body.clone().unwrap_or_default();
    let whole = body.contains("Reviews served by") && body.contains("ISBN-10");
    Ok(Check::new(
        "client asks productpage, which asks details and reviews, which ask ratings",
        format!(
            "{:?} {:?}, details and reviews on the page: {whole}",
            answer.statuses, answer.errors
        ),
        "{200: 1}, both on the page",
        answer.ok() == 1 && whole,
    ))
}

/// The page, asked for by the pod outside the mesh.
///
/// # Errors
/// If the client could not run.
pub async fn outsider(scene: &Scene<'_>) -> anyhow::Result<Check> {
    let url = format!("http://productpage.{BOOKINFO}:9080/productpage");
    let answer = scene.lab.http("outside", "outsider", &[&url]).await?;
    Ok(Check::new(
        "the outsider asks productpage",
        format!("{:?} {:?}", answer.statuses, answer.errors),
        "{200: 1}",
        answer.ok() == 1,
    ))
}
