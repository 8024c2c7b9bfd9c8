//! Builds everything and shows the mesh on two nodes.
//! In: options. Out: `ambit-lab demo` in this process's place, so that its exit code and Ctrl-C are ours.

use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::{setup, workspace};

/// Options of `cargo xtask demo`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Leave the lab up, with instructions
    #[arg(long)]
    keep: bool,
    /// File or directory of your own YAML; may be repeated
    #[arg(short = 'f', long = "file")]
    files: Vec<PathBuf>,
    /// Build with optimisation
    #[arg(long)]
    release: bool,
    /// Name of the lab
    #[arg(long, default_value = "demo")]
    name: String,
}

/// Packages with the programs a lab runs.
const PROGRAMS: [&str; 8] = [
    "ambit-harness",
    "ambit-bookinfo",
    "ambit-agent",
    "ambit-cni",
    "ambit-ztunnel",
    "ambit-waypoint",
    "ambit-controller",
    "ambit-cli",
];

/// Sets up, builds, and becomes the demo.
///
/// # Errors
/// Whatever kept it from starting.
pub(crate) fn run(args: &Args) -> Result<()> {
    setup::programs()?;
    setup::machine()?;
    let mut build = workspace::cargo();
    build.arg("build");
    for package in PROGRAMS {
        build.args(["--package", package]);
    }
    if args.release {
        build.arg("--release");
    }
    workspace::run(&mut build)?;
    let profile = if args.release { "release" } else { "debug" };
    let lab = workspace::read()?
        .target_directory
        .join(profile)
        .join("ambit-lab");
    let mut demo = Command::new(&lab);
    demo.args(["demo", "--name", &args.name]);
    if args.keep {
        demo.arg("--keep");
    }
    for file in &args.files {
        demo.arg("--file").arg(file);
    }
    let error = demo.exec();
    Err(error).with_context(|| lab.display().to_string())
}
