//! `ambit-lab`: labs from the command line, and the small programs a lab is made of.
//! In: a subcommand. Out: a lab that runs until Ctrl-C, or an answer about one that runs.
//! Never here: how a lab is made; that is the library.
#![forbid(unsafe_code)]

mod commands;

use std::ffi::OsString;
use std::process::ExitCode;

use ambit_harness::{launch, prober};
use anyhow::Context as _;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "ambit-lab",
    about = "A mesh on two nodes made of network namespaces"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Bring a lab up and hold it until Ctrl-C
    Up(commands::up::Args),
    /// Take a lab down, or sweep up what a crashed one left
    Down(commands::down::Args),
    /// Show labs, their programs and pods
    Status(commands::status::Args),
    /// Run a command in a pod
    Exec(commands::exec::Args),
    /// Show the mesh on bookinfo, step by step
    Demo(commands::demo::Args),
    /// Run a program at a place of a lab
    #[command(hide = true)]
    Launch {
        #[command(flatten)]
        place: launch::Place,
        /// Program and arguments
        #[arg(last = true, required = true)]
        program: Vec<OsString>,
    },
    /// Make the readiness probes of a node
    #[command(hide = true)]
    Prober,
}

fn main() -> ExitCode {
    match run(Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "the last word of a command that failed"
)]
fn complain(error: &anyhow::Error) {
    eprintln!("error: {error:#}");
}

fn run(command: Command) -> anyhow::Result<()> {
    // Before any thread is started: it changes namespaces of this process.
    if let Command::Launch { place, program } = &command {
        match launch::exec(place, program)? {}
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("runtime")?;
    runtime.block_on(async {
        match command {
            Command::Up(args) => commands::up::run(args).await,
            Command::Down(args) => commands::down::run(&args).await,
            Command::Status(args) => commands::status::run(&args),
            Command::Exec(args) => commands::exec::run(&args),
            Command::Demo(args) => commands::demo::run(args).await,
            Command::Prober => prober::run().await,
            Command::Launch { .. } => Ok(()),
        }
    })
}
