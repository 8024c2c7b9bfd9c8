//! The demo: a mesh doing its job on bookinfo, step by step, each with what was seen and expected.
//! In: a lab with the mesh's programs running and nobody enrolled. Out: printed checks, and whether all
//! of them held.
//! One file per step; behaviour tests use the steps' own checks.
//! Never here: making the lab.

pub mod away;
pub mod enroll;
pub mod identities;
pub mod leave;
pub mod metrics;
pub mod plaintext;
pub mod policy;
pub mod report;
pub mod scene;
pub mod waypoint;

pub use report::{Check, Report};
pub use scene::Scene;

/// Runs every step. A step that cannot go on counts as one that did not hold, and the next is tried.
pub async fn run(scene: &Scene<'_>, report: &mut Report) {
    report.step("0  bookinfo in plaintext");
    let held = plaintext::run(scene, report).await;
    report.end(held);
    report.step("1  the namespace joins the mesh while its pods run");
    let held = enroll::run(scene, report).await;
    report.end(held);
    report.step("2  a waypoint for reviews routes by VirtualService");
    let held = waypoint::run(scene, report).await;
    report.end(held);
    report.step("3  an AuthorizationPolicy refuses the outsider");
    let held = policy::run(scene, report).await;
    report.end(held);
    report.step("4  the controller is killed, two pods meet for the first time");
    let held = away::run(scene, report).await;
    report.end(held);
    report.step("5  the namespace leaves the mesh while its pods run");
    let held = leave::run(scene, report).await;
    report.end(held);
    report.step("6  it joins again: metrics of one connection, before and after");
    let held = metrics::run(scene, report).await;
    report.end(held);
}
