//! Tests on a real cluster: what they need, and running them.
//! In: `CI`, `AMBIT_KUBERNETES`. Out: Kubernetes built where everything must run; a cluster of its own for
//! each test. Where neither Kubernetes is built nor everything must run, the tests say so and pass.

use ambit_cluster::Binaries;
use anyhow::Result;

use crate::{cluster, images, workspace};

/// Tests of this package each bring up a cluster.
pub(crate) const PACKAGE: &str = "ambit-kubernetes-tests";

/// Builds Kubernetes where everything must run; elsewhere people decide when to spend the minutes.
///
/// # Errors
/// No Go, no network, or what the compiler says.
pub(crate) fn provide() -> Result<()> {
    if is_off() || std::env::var_os("CI").is_none() {
        return Ok(());
    }
    cluster::build_once().map(drop)
}

/// Runs the tests.
///
/// # Errors
/// One that failed.
pub(crate) fn test() -> Result<()> {
    provide()?;
    if !is_off() && Binaries::cached()?.is_some() {
        // Everything else that images hold has been built by now.
        images::build_static("ambit")?;
    }
    let mut command = workspace::cargo();
    command.args(["test", "--workspace", "--locked"]);
    command.args(["--test", "getting_started"]);
    workspace::run(command.args(["--", "--nocapture", "--test-threads=1"]))
}

/// Whether somebody wants no cluster.
fn is_off() -> bool {
    std::env::var_os("AMBIT_KUBERNETES").is_some_and(|value| value == "off")
}
