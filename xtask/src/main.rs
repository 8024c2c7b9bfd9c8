//! `cargo xtask …`: every command of the project.
//! Each command is a file of its own; this one only parses the command line.
#![forbid(unsafe_code)]

mod bench;
mod charts;
mod cluster;
mod codegen;
mod crds;
mod demo;
mod ebpf;
mod helm;
mod images;
mod kubernetes;
mod layout;
mod setup;
mod test;
mod told;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Builds, checks and shows Ambit")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compare the mesh with no mesh and with bare relays
    Bench(bench::Args),
    /// Lint the charts and render manifests from them
    Charts(charts::Args),
    /// Run a real Kubernetes cluster on this machine
    Cluster(cluster::Args),
    /// Regenerate the checked-in code and CustomResourceDefinitions
    Codegen(codegen::Args),
    /// Show the mesh doing its job on two nodes
    Demo(demo::Args),
    /// Rebuild the checked-in kernel programs
    Ebpf(ebpf::Args),
    /// Run the helm that the charts are checked with
    Helm(helm::Args),
    /// Make the container images of Ambit and the samples
    Images(images::Args),
    /// Check layers, owners of dependencies, module cycles, orphan files
    Layout(layout::Args),
    /// Install what the other commands need
    Setup(setup::Args),
    /// Run everything that must pass
    Test(test::Args),
}

#[expect(clippy::print_stderr, reason = "it is what a command line reads")]
fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: Command) -> anyhow::Result<()> {
    match command {
        Command::Bench(args) => bench::run(&args),
        Command::Charts(args) => charts::run(&args),
        Command::Cluster(args) => cluster::run(args),
        Command::Codegen(args) => codegen::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Ebpf(args) => ebpf::run(&args),
        Command::Helm(args) => helm::run(&args),
        Command::Images(args) => images::run(&args),
        Command::Layout(args) => layout::run(&args),
        Command::Setup(args) => setup::run(&args),
        Command::Test(args) => test::run(&args),
    }
}
