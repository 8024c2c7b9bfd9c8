//! Tests on a real cluster: what they need, and running them.
//! In: `AMBIT_KUBERNETES`. Out: a cluster of its own for each test. Kubernetes is built first where it is not
//! yet, some ten minutes; where that cannot be done, or not in time, the stage says so and passes. With
//! `AMBIT_KUBERNETES=on` it fails then, and `off` leaves it out. The getting-started guide is what always runs;
//! `full` is `on` with every other test, some minutes each.

use std::process::Command;

use ambit_cluster::{Binaries, say};
use anyhow::{Context as _, Result};

use crate::{cluster, images, told, workspace};

/// Tests of this package each bring up a cluster.
pub(crate) const PACKAGE: &str = "ambit-kubernetes-tests";

/// Where it is.
const PLACE: &str = "tests/kubernetes";

/// What people say of these tests.
pub(crate) const WISH: &str = "AMBIT_KUBERNETES";

/// How long Kubernetes may be built in the middle of all tests.
const BUILD_SECONDS: &str = "1500";

/// Tests that run unless all are left out: that of `ambit-cluster`, the guide, and what needs no cluster.
const ALWAYS: [&str; 3] = ["up_and_down", "getting_started", "kustomize"];

/// Runs the tests.
///
/// # Errors
/// One that failed.
pub(crate) fn test() -> Result<()> {
    let runs = if is("on") || is("full") {
        cluster::build_once()?;
        true
    } else {
        !is("off") && is_there()?
    };
    if runs {
        ambit_cluster::install_packages()?;
        // Everything else that images hold has been built by now.
        images::build_static("ambit")?;
    }
    let mut command = workspace::cargo();
    if !runs {
        command.env(WISH, "off");
    }
    command.args(["test", "--workspace", "--locked"]);
    for test in tests()? {
        command.args(["--test", &test]);
    }
    told::run(command.args(["--", "--nocapture", "--test-threads=1"]))
}

/// Whether Kubernetes is built, or could be in the time that there is for it.
fn is_there() -> Result<bool> {
    if Binaries::cached()?.is_some() {
        return Ok(true);
    }
    say("Kubernetes is not built yet; it is now, once (AMBIT_KUBERNETES=off leaves it out)");
    let this = std::env::current_exe().context("find this program")?;
    let mut build = Command::new("timeout");
    build.args(["--kill-after=10", BUILD_SECONDS]);
    let built = workspace::run(build.arg(this).args(["cluster", "build"]));
    if let Err(error) = &built {
        say(&format!(
            "no test on a real cluster runs: {error:#}; `cargo xtask cluster build` says more"
        ));
    }
    Ok(built.is_ok())
}

/// Test files by name.
fn tests() -> Result<Vec<String>> {
    let mut tests: Vec<String> = ALWAYS.map(str::to_owned).to_vec();
    if is("full") {
        let packages = workspace::read()?.packages;
        let ours = packages.iter().find(|package| package.place() == PLACE);
        let targets = ours.into_iter().flat_map(|package| &package.targets);
        let files = targets.filter(|target| target.kind.iter().any(|kind| kind == "test"));
        let names = files.filter_map(|target| target.src_path.file_stem()?.to_str());
        tests.extend(
            names
                .filter(|name| !ALWAYS.contains(name))
                .map(str::to_owned),
        );
    }
    Ok(tests)
}

fn is(wish: &str) -> bool {
    std::env::var_os(WISH).is_some_and(|value| value == wish)
}
