//! Everything that must pass.
//! In: the repository. Out: exit code 0 if all of it holds, and one line that sums it up.
//! Order: quick checks first; tests that need root last, one lab at a time.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser as _;

use crate::workspace::{self, Package, cargo};
use crate::{charts, codegen, ebpf, helm, kubernetes, layout, setup, told};

/// Options of `cargo xtask test`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Only these stages
    #[arg(value_enum)]
    stages: Vec<Stage>,
}

/// One part of the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Stage {
    /// Debian packages, cargo components
    Setup,
    /// rustfmt
    Fmt,
    /// Layers, owners, cycles, orphans
    Layout,
    /// Checked-in protobuf code
    Codegen,
    /// Checked-in manifests against their charts
    Charts,
    /// Checked-in kernel programs
    Ebpf,
    /// clippy without warnings
    Clippy,
    /// All programs
    Build,
    /// Tests of every package but the next two stages'
    Unit,
    /// The mesh with its real programs
    Behaviours,
    /// The mesh on a real cluster
    Kubernetes,
}

const ALL: [Stage; 11] = [
    Stage::Setup,
    Stage::Fmt,
    Stage::Layout,
    Stage::Codegen,
    Stage::Charts,
    Stage::Ebpf,
    Stage::Clippy,
    Stage::Build,
    Stage::Unit,
    Stage::Behaviours,
    Stage::Kubernetes,
];

/// The package whose tests each make a lab, and its folder.
const BEHAVIOURS: &str = "ambit-behaviours";
const BEHAVIOURS_PLACE: &str = "tests/behaviours";

/// Runs the stages.
///
/// # Errors
/// The first stage that failed.
#[expect(clippy::print_stdout, reason = "progress and summary")]
pub(crate) fn run(args: &Args) -> Result<()> {
    let stages = if args.stages.is_empty() {
        &ALL[..]
    } else {
        &args.stages
    };
    // A quarter of an hour early.
    if stages.contains(&Stage::Behaviours) {
        behaviour_tests()?;
    }
    let mut took: Vec<(Stage, Duration)> = Vec::new();
    for stage in stages {
        println!("\n── {} ──", name(*stage));
        let start = Instant::now();
        execute(*stage).with_context(|| format!("stage {}", name(*stage)))?;
        took.push((*stage, start.elapsed()));
    }
    let parts: Vec<String> = took
        .iter()
        .map(|(stage, time)| format!("{} {}s", name(*stage), time.as_secs()))
        .collect();
    let total: Duration = took.iter().map(|(_, time)| *time).sum();
    println!("\nall passed in {}s: {}", total.as_secs(), parts.join(", "));
    Ok(())
}

fn name(stage: Stage) -> String {
    format!("{stage:?}").to_lowercase()
}

/// The options of a command with `--check`, as its command line gives them.
fn check<A: clap::Args>() -> A {
    Checked::parse_from(["cargo xtask", "--check"]).args
}

#[derive(clap::Parser)]
struct Checked<A: clap::Args> {
    #[command(flatten)]
    args: A,
}

fn execute(stage: Stage) -> Result<()> {
    match stage {
        Stage::Setup => setup::run(&setup::Args {}),
        Stage::Fmt => workspace::run(cargo().args(["fmt", "--all", "--check"])),
        Stage::Layout => layout::run(&layout::Args::default()),
        Stage::Codegen => codegen::run(&check()),
        Stage::Charts if !helm::can_be_built() => {
            ambit_cluster::say("not run: helm is built from its source, and there is no Go");
            Ok(())
        }
        Stage::Charts => charts::run(&check()),
        Stage::Ebpf => ebpf::run(&check()),
        Stage::Clippy => workspace::run(cargo().args([
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "--deny",
            "warnings",
        ])),
        // With the tests, so that the programs and every later stage share one set of features.
        Stage::Build => {
            workspace::run(cargo().args(["build", "--workspace", "--all-targets", "--locked"]))
        }
        // Those that bring up a cluster have a stage of their own.
        Stage::Unit => told::run(cargo().env(kubernetes::WISH, "off").args([
            "test",
            "--workspace",
            "--exclude",
            BEHAVIOURS,
            "--exclude",
            kubernetes::PACKAGE,
            "--locked",
            "--no-fail-fast",
        ])),
        Stage::Behaviours => behaviours(),
        Stage::Kubernetes => kubernetes::test(),
    }
}

/// Every test file of the behaviours, by name: `--package` would choose other features, and build
/// most of the workspace again.
fn behaviours() -> Result<()> {
    let mut command = cargo();
    command.args(["test", "--workspace", "--locked", "--no-fail-fast"]);
    for name in behaviour_tests()? {
        command.arg("--test").arg(name);
    }
    told::run(command.args(["--", "--test-threads=1"]))
}

/// Names of the behaviours' test files.
///
/// # Errors
/// If another package's test has such a name: it would run in both stages.
fn behaviour_tests() -> Result<BTreeSet<String>> {
    let workspace = workspace::read()?;
    let (ours, others): (Vec<_>, Vec<_>) = workspace
        .packages
        .iter()
        .partition(|package| package.place() == BEHAVIOURS_PLACE);
    let names = |package: &Package| -> Vec<String> {
        let tests = package.targets.iter();
        tests
            .filter(|target| target.kind.iter().any(|kind| kind == "test"))
            .filter_map(|target| target.src_path.file_stem()?.to_str().map(str::to_owned))
            .collect()
    };
    let tests: BTreeSet<String> = ours.into_iter().flat_map(names).collect();
    ensure!(!tests.is_empty(), "{BEHAVIOURS_PLACE} has no tests");
    for package in others {
        for name in names(package) {
            let place = package.place();
            ensure!(
                !tests.contains(&name),
                "the tests `{name}` of {place} and {BEHAVIOURS_PLACE} need two names: cargo chooses by name"
            );
        }
    }
    Ok(tests)
}
