//! `ambit`: installs a mesh, asks a running one what it does, checks objects before they are applied.
//! In: a `Target` (a lab or a cluster) or files. Out: tables for people, JSON for programs.
//! Only `install`, `uninstall`, `waypoint` and `ztunnel-config log` change anything.
//! Exit codes: 0 done; 1 something is wrong with the mesh or the objects; 2 the command could not run.
#![forbid(unsafe_code)]

mod cluster;
mod commands;
mod dump;
mod duration;
mod install;
mod output;
mod target;

use clap::{Parser, Subcommand};
use output::Format;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Parser)]
#[command(
    name = "ambit",
    version,
    about = "Install an Ambit mesh and ask it what it does",
    propagate_version = true
)]
struct Cli {
    /// Lab to talk to; with a single running lab it is found by itself
    #[arg(long, global = true, env = "AMBIT_LAB", value_name = "NAME")]
    lab: Option<String>,
    /// Cluster to talk to: a kubeconfig file; else a running lab, ~/.kube/config or the pod this runs in
    #[arg(long, global = true, env = "KUBECONFIG", value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig
    #[arg(long, global = true, value_name = "NAME")]
    context: Option<String>,
    /// Namespace of the mesh
    #[arg(short = 'i', long, global = true, default_value = install::NAMESPACE, value_name = "NAME")]
    istio_namespace: String,
    /// How to print
    #[arg(short, long, global = true, value_enum, default_value_t = Format::Table)]
    output: Format,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install the mesh into a cluster, or bring an installation up to date
    Install(commands::install::Args),
    /// Take the mesh out of a cluster
    Uninstall(commands::uninstall::Args),
    /// What an installation consists of
    Manifest(commands::manifest::Args),
    /// Compare a cluster with what was installed
    VerifyInstall(commands::verify_install::Args),
    /// Whether a cluster can take the mesh
    #[command(visible_alias = "check")]
    Precheck,
    /// Make, list and delete waypoints
    #[command(visible_alias = "wp")]
    Waypoint(commands::waypoint::Args),
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
    /// Write the manual pages
    Man(commands::man::Args),
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
    let place = target::Place {
        lab: cli.lab,
        cluster: cluster::Chosen {
            kubeconfig: cli.kubeconfig,
            context: cli.context,
        },
        namespace: cli.istio_namespace,
    };
    let (cluster, namespace, format) = (&place.cluster, place.namespace.as_str(), cli.output);
    let open = || target::open(&place);
    match cli.command {
        Command::Install(args) => commands::install::run(&args, cluster, namespace).await,
        Command::Uninstall(args) => commands::uninstall::run(&args, cluster, namespace).await,
        Command::Manifest(args) => commands::manifest::run(&args, format),
        Command::VerifyInstall(args) => {
            commands::verify_install::run(&args, cluster, namespace, format).await
        }
        Command::Precheck => commands::precheck::run(cluster, namespace, format).await,
        Command::Waypoint(args) => commands::waypoint::run(&args, cluster, format).await,
        Command::Version => commands::version::run(open, format).await,
        Command::Status => commands::status::run(&open().await?, format).await,
        Command::ZtunnelConfig(args) => commands::ztunnel_config::run(&args, open, format).await,
        Command::Analyze(args) => commands::analyze::run(&args, cluster, format).await,
        Command::Explain(args) => commands::explain::run(&args, &open().await?, format).await,
        Command::Completion { shell } => {
            let mut command = <Cli as clap::CommandFactory>::command();
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command, "ambit", &mut script);
            output::text(&String::from_utf8_lossy(&script));
            Ok(output::Verdict::Fine)
        }
        Command::Man(args) => commands::man::run(&args, <Cli as clap::CommandFactory>::command()),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_options_fit_each_other() {
        <super::Cli as clap::CommandFactory>::command().debug_assert();
    }
}
