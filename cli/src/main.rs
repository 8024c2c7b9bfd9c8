//! `ambit`: installs a mesh, asks a running one what it does, checks objects before they are applied.
//! In: a `Target` (a lab or a cluster) or files. Out: tables for people, JSON for programs.
//! Only `install`, `upgrade`, `uninstall`, `waypoint`, `tag` and `ztunnel-config log` change anything.
//! Exit codes: 0 done; 1 something is wrong with the mesh; 2 the command could not run; 79 `analyze`
//! found something that fails.
#![forbid(unsafe_code)]

mod analysis;
mod choice;
mod cluster;
mod commands;
mod dump;
mod duration;
mod install;
mod metrics;
mod output;
mod rollout;
mod target;
mod versions;

use clap::{FromArgMatches as _, Parser, Subcommand};
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
    #[arg(
        long,
        global = true,
        env = "AMBIT_LAB",
        hide_env_values = true,
        value_name = "NAME"
    )]
    lab: Option<String>,
    /// Cluster to talk to: a kubeconfig file; else a running lab, ~/.kube/config or the pod this runs in
    #[arg(
        long,
        global = true,
        env = "KUBECONFIG",
        hide_env_values = true,
        value_name = "FILE"
    )]
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
    /// Bring an installation to the version of this command, one node first
    Upgrade(commands::upgrade::Args),
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
    /// Further names of revisions of the control plane
    Tag(commands::tag::Args),
    /// Versions of this command, the control plane and the data plane
    Version(commands::version::Args),
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
    /// Show the pages of a part of the mesh on this machine
    #[command(visible_aliases = ["dash", "d"])]
    Dashboard(commands::dashboard::Args),
    /// Collect everything that is needed to understand a problem
    BugReport(commands::bug_report::Args),
    /// Shell completion script
    Completion {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages
    Man(commands::man::Args),
}

/// Name of the link that makes this a kubectl plugin.
const PLUGIN: &str = "kubectl-ambit";
/// Name of the link by which kubectl asks for completions of the plugin.
const PLUGIN_COMPLETE: &str = "kubectl_complete-ambit";

fn main() -> ExitCode {
    let called = std::env::args().next().unwrap_or_default();
    let called = std::path::Path::new(&called).file_stem();
    let called = called.and_then(|name| name.to_str()).unwrap_or_default();
    let mut command = <Cli as clap::CommandFactory>::command();
    if called == PLUGIN_COMPLETE {
        let words: Vec<String> = std::env::args().skip(1).collect();
        command.build();
        output::text(&commands::complete::candidates(&command, &words));
        return ExitCode::SUCCESS;
    }
    if called == PLUGIN {
        command = command.bin_name("kubectl ambit");
    }
    let parsed = Cli::from_arg_matches(&command.get_matches());
    let cli = parsed.unwrap_or_else(|error| error.exit());
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
        Command::Upgrade(args) => commands::upgrade::run(&args, &place).await,
        Command::Uninstall(args) => commands::uninstall::run(&args, cluster, namespace).await,
        Command::Manifest(args) => commands::manifest::run(&args, format),
        Command::VerifyInstall(args) => {
            commands::verify_install::run(&args, cluster, namespace, format).await
        }
        Command::Precheck => commands::precheck::run(cluster, namespace, format).await,
        Command::Waypoint(args) => commands::waypoint::run(&args, cluster, format).await,
        Command::Tag(args) => commands::tag::run(&args, cluster, namespace, format).await,
        Command::Version(args) => commands::version::run(&args, open, format).await,
        Command::Status => commands::status::run(&open().await?, format).await,
        Command::ZtunnelConfig(args) => commands::ztunnel_config::run(&args, open, format).await,
        Command::Analyze(args) => commands::analyze::run(&args, cluster, namespace, format).await,
        Command::Explain(args) => commands::explain::run(&args, &open().await?, format).await,
        Command::Dashboard(args) => commands::dashboard::run(&args, &place).await,
        Command::BugReport(args) => commands::bug_report::run(&args, &place).await,
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
    use super::Cli;
    use std::fmt::Write as _;

    #[test]
    fn the_options_fit_each_other() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    /// `AMBIT_BLESS=1 cargo test -p ambit-cli help` writes the file anew.
    #[test]
    fn the_help_of_every_command_is_as_recorded() {
        let mut command = <Cli as clap::CommandFactory>::command().term_width(110);
        command.build();
        let mut text = String::new();
        write(&mut command, &mut text);
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("golden/help.txt");
        if std::env::var_os("AMBIT_BLESS").is_some() {
            std::fs::write(&path, &text).unwrap();
        }
        let recorded = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(
            recorded == text,
            "the help differs from {}; see it with AMBIT_BLESS=1 and git diff",
            path.display()
        );
    }

    fn write(command: &mut clap::Command, text: &mut String) {
        let help = command.render_help();
        writeln!(
            text,
            "$ {} --help\n{help}",
            command.get_bin_name().unwrap_or("ambit")
        )
        .unwrap();
        for sub in command
            .get_subcommands_mut()
            .filter(|c| c.get_name() != "help")
        {
            write(sub, text);
        }
    }
}
