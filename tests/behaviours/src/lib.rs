//! Behaviours of the whole mesh with its real programs: one sentence per test, in `tests/`.
//! In: nothing but root. Out: a lab with the bookinfo sample in the state a sentence starts from.
//! Each test has a lab of its own, named after the area and this process, and drops it at the end.
//! Never here: expectations.
#![forbid(unsafe_code)]

pub mod memory;
pub mod town;

use std::time::Duration;

use ambit_harness::Lab;
use ambit_harness::demo::{Report, Scene, plaintext};
use anyhow::Result;

/// How long pods may take to become ready.
pub const READY: Duration = Duration::from_secs(60);

/// Whether labs can be made here. Says why not, and fails where everything must run (`CI` is set).
///
/// # Panics
/// Under CI without root.
pub fn can_run() -> bool {
    if ambit_harness::lab::is_root() {
        return true;
    }
    assert!(
        std::env::var_os("CI").is_none(),
        "a lab needs root, and under CI it must run"
    );
    #[expect(clippy::print_stderr, reason = "why a test did not run")]
    {
        eprintln!("not run: a lab needs root");
    }
    false
}

/// The name of a lab for tests of `area`.
pub fn name(area: &str) -> String {
    format!("{area}-{}", std::process::id())
}

/// Two nodes and the sample on them, without a mesh.
///
/// # Errors
/// If it does not come up.
pub async fn plain(area: &str) -> Result<Lab> {
    let lab = Lab::builder(&name(area)).without_mesh().up().await?;
    with_sample(lab).await
}

/// Two nodes with the mesh's programs and the sample on them; nothing has joined the mesh.
///
/// # Errors
/// If it does not come up.
pub async fn outside(area: &str) -> Result<Lab> {
    let lab = Lab::builder(&name(area)).up().await?;
    with_sample(lab).await
}

/// The same, and the sample's namespace has joined.
///
/// # Errors
/// If it does not come up or does not join.
pub async fn joined(area: &str) -> Result<Lab> {
    let lab = outside(area).await?;
    let scene = Scene::new(&lab);
    scene.label()?;
    scene.captured(true).await?;
    Ok(lab)
}

async fn with_sample(lab: Lab) -> Result<Lab> {
    Scene::new(&lab).apply(&plaintext::FILES)?;
    lab.pods_ready(READY).await?;
    Ok(lab)
}

/// A report that prints what the tests see.
pub fn report() -> Report {
    Report::new(Box::new(std::io::stderr()))
}

/// Fails if any check of the report did not hold.
///
/// # Panics
/// With the checks that did not hold.
pub fn all_held(report: &Report) {
    assert!(
        report.failed().is_empty(),
        "did not hold: {:#?}",
        report.failed()
    );
    assert!(report.checks() > 0, "nothing was checked");
}
