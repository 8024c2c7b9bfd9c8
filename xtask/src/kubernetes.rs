//! Tests on a real cluster: what they need, and running them.
//! In: `AMBIT_KUBERNETES`. Out: a cluster of its own for each test. Where Kubernetes is not built yet the tests
//! say so and pass; `AMBIT_KUBERNETES=on` builds it first, some ten minutes, and `off` leaves them out.

use ambit_cluster::Binaries;
use anyhow::Result;

use crate::{cluster, images, workspace};

/// Tests of this package each bring up a cluster.
pub(crate) const PACKAGE: &str = "ambit-kubernetes-tests";

/// What people say of these tests.
pub(crate) const WISH: &str = "AMBIT_KUBERNETES";

/// Runs the tests.
///
/// # Errors
/// One that failed.
pub(crate) fn test() -> Result<()> {
    if is("on") {
        cluster::build_once()?;
    }
    let runs = !is("off") && Binaries::cached()?.is_some();
    if runs {
        ambit_cluster::install_packages()?;
        // Everything else that images hold has been built by now.
        images::build_static("ambit")?;
    }
    let mut command = workspace::cargo();
    if !runs {
        command.env(WISH, "off");
        ambit_cluster::say(
            "Kubernetes is not built: `cargo xtask cluster build`, or AMBIT_KUBERNETES=on",
        );
    }
    command.args(["test", "--workspace", "--locked"]);
    command.args(["--test", "up_and_down", "--test", "getting_started"]);
    workspace::run(command.args(["--", "--nocapture", "--test-threads=1"]))
}

fn is(wish: &str) -> bool {
    std::env::var_os(WISH).is_some_and(|value| value == wish)
}
