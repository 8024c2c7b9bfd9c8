//! Tests on a real cluster: what they need, and running them.
//! In: `AMBIT_KUBERNETES`. Out: a cluster of its own for each test. Where Kubernetes is not built yet the tests
//! say so and pass; `AMBIT_KUBERNETES=on` builds it first, some ten minutes, and `off` leaves them out. The
//! getting-started guide is what always runs; `full` is `on` with every other test, some minutes each.

use ambit_cluster::Binaries;
use anyhow::Result;

use crate::{cluster, images, told, workspace};

/// Tests of this package each bring up a cluster.
pub(crate) const PACKAGE: &str = "ambit-kubernetes-tests";

/// Where it is.
const PLACE: &str = "tests/kubernetes";

/// What people say of these tests.
pub(crate) const WISH: &str = "AMBIT_KUBERNETES";

/// Tests that run unless all are left out: that of `ambit-cluster`, and the guide.
const ALWAYS: [&str; 2] = ["up_and_down", "getting_started"];

/// Runs the tests.
///
/// # Errors
/// One that failed.
pub(crate) fn test() -> Result<()> {
    if is("on") || is("full") {
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
    for test in tests()? {
        command.args(["--test", &test]);
    }
    told::run(command.args(["--", "--nocapture", "--test-threads=1"]))
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
