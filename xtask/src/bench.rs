//! Builds everything with optimisation and compares the mesh with no mesh and with bare relays.
//! In: options, passed on. Out: `ambit-bench run` in this process's place, so that its exit code and
//! Ctrl-C are ours.

mod scale;

use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{setup, workspace};

/// Options of `cargo xtask bench`.
#[derive(clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    part: Option<Part>,
    /// Rounds; each measures every contender once
    #[arg(long)]
    rounds: Option<u32>,
    /// Seconds of each measurement
    #[arg(long)]
    seconds: Option<f64>,
    /// A first look in less than a minute
    #[arg(long)]
    quick: bool,
    /// Only these measures: bulk1, bulk4, requests, paced, connect, idle, hop-connect, hop-round-trip
    #[arg(long)]
    only: Option<String>,
    /// Only these contenders: no-mesh, plain, sealed, ambit, loopback, captured
    #[arg(long)]
    contenders: Option<String>,
    /// Write everything that was measured to this file
    #[arg(long)]
    json: Option<String>,
    /// Fail when a gate is missed
    #[arg(long)]
    gate: bool,
}

/// What is measured instead.
#[derive(clap::Subcommand)]
enum Part {
    /// The controller in front of 10,000 pods and 100 nodes, on a real API server
    ControlPlane(scale::Args),
    /// From a change at the API server to its effect on traffic, on a real cluster
    ApplyToEffect(scale::Args),
}

/// Packages with the programs that take part.
const PROGRAMS: [&str; 7] = [
    "ambit-bench",
    "ambit-harness",
    "ambit-bookinfo",
    "ambit-agent",
    "ambit-cni",
    "ambit-ztunnel",
    "ambit-controller",
];

/// Sets up, builds, and becomes the bench.
///
/// # Errors
/// Whatever kept it from starting.
pub(crate) fn run(args: &Args) -> Result<()> {
    match &args.part {
        Some(Part::ControlPlane(args)) => return scale::control_plane(args),
        Some(Part::ApplyToEffect(args)) => return scale::effect(args),
        None => {}
    }
    setup::programs()?;
    setup::machine()?;
    let mut build = workspace::cargo();
    build.args(["build", "--release"]);
    for package in PROGRAMS {
        build.args(["--package", package]);
    }
    workspace::run(&mut build)?;
    let target = workspace::read()?.target_directory;
    let program = target.join("release").join("ambit-bench");
    let mut bench = Command::new(&program);
    bench.arg("run");
    for (flag, value) in [
        ("--rounds", args.rounds.map(|rounds| rounds.to_string())),
        ("--seconds", args.seconds.map(|seconds| seconds.to_string())),
        ("--only", args.only.clone()),
        ("--contenders", args.contenders.clone()),
        ("--json", args.json.clone()),
    ] {
        if let Some(value) = value {
            bench.args([flag, &value]);
        }
    }
    for (flag, given) in [("--quick", args.quick), ("--gate", args.gate)] {
        if given {
            bench.arg(flag);
        }
    }
    let error = bench.exec();
    Err(error).with_context(|| program.display().to_string())
}
