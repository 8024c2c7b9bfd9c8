//! `ambit`: asks a running mesh what it does, and checks objects before they are applied.
//! In: a `Target` (a lab, later a cluster) or files. Out: tables for people, JSON for programs.
//! Never changes the mesh, except `ztunnel-config log`.
//! Exit codes: 0 done; 1 something is wrong with the mesh or the objects; 2 the command could not run.
#![forbid(unsafe_code)]

mod commands;
mod dump;
mod output;
mod target;

use clap::{Parser, Subcommand};
use output::Format;
use std::process::ExitCode;

#[derive(Parser)]
#[command(
    name = "ambit",
    version,
    about = "Ask an Ambit mesh what it does",
    propagate_version = true
)]
struct Cli {
    /// Lab to talk to; with a single running lab it is found by itself
    #[arg(long, global = true, env = "AMBIT_LAB", value_name = "NAME")]
    lab: Option<String>,
    /// How to print
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Versions of this command and of every proxy
    Version,
    /// Proxies, their sync state, pods in the mesh, certificates, bypassed flows
    #[command(visible_aliases = ["proxy-status", "ps"])]
    Status,
    /// What a node proxy knows: workloads, services, policies, certificates, connections
    #[command(visible_alias = "zc")]
    ZtunnelConfig(commands::ztunnel_config::Args),
    /// Check objects the way the controller does, without applying them
    Analyze(commands::analyze::Args),
    /// Why a connection goes where it goes
    Explain(commands::explain::Args),
    /// Shell completion script
    Completion {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let result = match runtime {
        Ok(runtime) => runtime.block_on(run(cli)),
        Err(e) => Err(e.into()),
    };
    match result {
        Ok(verdict) => verdict.into(),
        Err(error) => {
            output::error(&error);
            ExitCode::from(2)
        }
    }
}

async fn run(cli: Cli) -> anyhow::Result<output::Verdict> {
    let open = || target::open(cli.lab.as_deref());
    match cli.command {
        Command::Version => commands::version::run(open, cli.output).await,
        Command::Status => commands::status::run(&open()?, cli.output).await,
        Command::ZtunnelConfig(args) => {
            commands::ztunnel_config::run(&args, open, cli.output).await
        }
        Command::Analyze(args) => commands::analyze::run(&args, cli.output),
        Command::Explain(args) => commands::explain::run(&args, &open()?, cli.output).await,
        Command::Completion { shell } => {
            let mut command = <Cli as clap::CommandFactory>::command();
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command, "ambit", &mut script);
            output::text(&String::from_utf8_lossy(&script));
            Ok(output::Verdict::Fine)
        }
    }
}
