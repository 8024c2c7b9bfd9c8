//! `cargo xtask cluster …`: a real Kubernetes cluster on this machine.
//! In: arguments. Out: calls of `ambit-cluster`, which owns everything; this file only parses.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use ambit_cluster::{
    ApiOptions, Binaries, ClusterName, Directory, Init, NodeNumber, Role, Shape, init, say,
};
use anyhow::{Context as _, Result, bail};
use clap::Subcommand;

use crate::{images, workspace};

/// Options of `cargo xtask cluster`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Name of the cluster
    #[arg(long, global = true, default_value = "ambit")]
    name: ClusterName,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Install what is needed and build Kubernetes, once
    Build,
    /// Bring the cluster up, or complete it
    Up {
        /// Number of worker nodes
        #[arg(long, default_value_t = 2)]
        nodes: u8,
        /// Give nodes and pods IPv6 addresses too
        #[arg(long)]
        dual_stack: bool,
        /// Features of the API server beyond its own choice, such as ClusterTrustBundle=true
        #[arg(long, default_value = "", hide_default_value = true)]
        feature_gates: String,
        /// API versions that it serves beyond its own choice, such as certificates.k8s.io/v1beta1=true
        #[arg(long, default_value = "", hide_default_value = true)]
        runtime_config: String,
    },
    /// Remove the cluster and everything it made
    Down,
    /// What runs
    Status,
    /// Run kubectl against the cluster
    Kubectl {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Run a command where the cluster can be reached, with KUBECONFIG set
    Exec {
        /// On this node instead, in all of its namespaces
        #[arg(long)]
        node: Option<NodeNumber>,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        command: Vec<OsString>,
    },
    /// Import OCI archives into every node
    Load {
        #[arg(required = true)]
        archives: Vec<PathBuf>,
    },
    /// The log of a component, or the list of logs
    Logs {
        /// `kube-apiserver`, `n1/kubelet`, …
        component: Option<String>,
    },
    /// End or start a node
    Node {
        #[command(subcommand)]
        verb: NodeVerb,
    },
    /// Fetch the public sample applications and print where their manifests are
    Samples,
    /// Check the cluster without Ambit: pods, services, DNS, probes, exec, logs
    Smoke,
    /// First process of a part
    #[command(hide = true)]
    Init {
        role: Role,
        state: PathBuf,
        /// The namespaces have been entered
        #[arg(long)]
        inside: bool,
    },
}

#[derive(Subcommand)]
enum NodeVerb {
    /// End everything on a node, as a power cut would
    Kill { node: NodeNumber },
    /// Start it again and wait until it is ready
    Start { node: NodeNumber },
}

/// Does what the command line says.
///
/// # Errors
/// Whatever `ambit-cluster` says.
#[expect(clippy::print_stdout, reason = "the status is the output")]
pub(crate) fn run(args: Args) -> Result<()> {
    if let Verb::Init {
        role,
        state,
        inside,
    } = &args.verb
    {
        return first_process(*role, state, *inside);
    }
    let build = workspace::read()?.target_directory;
    let cluster = Directory::new(&build, args.name)?;
    match args.verb {
        Verb::Build => build_once().map(drop),
        Verb::Up {
            nodes,
            dual_stack,
            feature_gates,
            runtime_config,
        } => {
            let binaries = build_once()?;
            let shape = Shape {
                nodes: NodeNumber::first(nodes)?,
                dual_stack,
                api: ApiOptions {
                    feature_gates,
                    runtime_config,
                },
            };
            ambit_cluster::up(&cluster, &binaries, &shape, &own_init()?)
        }
        Verb::Down => ambit_cluster::down(&cluster),
        Verb::Status => {
            print!("{}", ambit_cluster::status(&cluster)?);
            Ok(())
        }
        Verb::Kubectl { arguments } => replace(ambit_cluster::kubectl(&cluster)?.args(arguments)),
        Verb::Exec {
            node: Some(node),
            command,
        } => replace(&mut on_node(&cluster, node, &command)?),
        Verb::Exec {
            node: None,
            command,
        } => {
            ambit_cluster::enter_control_plane(&cluster)?;
            let (program, arguments) = command.split_first().context("a command")?;
            replace(
                Command::new(program)
                    .args(arguments)
                    .env("KUBECONFIG", cluster.admin()),
            )
        }
        Verb::Load { archives } => ambit_cluster::load(&cluster, &archives),
        Verb::Logs { component } => logs(&cluster, component.as_deref()),
        Verb::Node {
            verb: NodeVerb::Kill { node },
        } => ambit_cluster::kill_node(&cluster, node),
        Verb::Node {
            verb: NodeVerb::Start { node },
        } => ambit_cluster::start_node(&cluster, node, &own_init()?),
        Verb::Smoke => {
            let archives = images::samples(&["helloworld-v1", "curl"])?;
            ambit_cluster::load(&cluster, &archives)?;
            ambit_cluster::smoke(&cluster)
        }
        Verb::Samples => {
            println!("{}", ambit_cluster::samples()?.display());
            Ok(())
        }
        Verb::Init { .. } => bail!("handled above"),
    }
}

/// Kubernetes, and the packages that a cluster needs; built if it is not there.
///
/// # Errors
/// Packages that cannot be installed, or what the compiler says.
pub(crate) fn build_once() -> Result<Binaries> {
    ambit_cluster::install_packages()?;
    let binaries = Binaries::build()?;
    say(&format!("Kubernetes is in {}", binaries.dir().display()));
    Ok(binaries)
}

/// This program as the first process of a part.
///
/// # Errors
/// It cannot find itself.
pub(crate) fn own_init() -> Result<Init> {
    Ok(Init {
        program: std::env::current_exe().context("find this program")?,
        arguments: ["cluster", "init"].map(OsString::from).to_vec(),
    })
}

fn first_process(role: Role, state: &Path, inside: bool) -> Result<()> {
    if inside {
        return init::inside(role, state);
    }
    let again = [
        "cluster".to_owned(),
        "init".to_owned(),
        role.to_string(),
        state.display().to_string(),
    ];
    init::outside(role, state, &again)
}

/// Becomes the command, so that its exit code and signals are ours.
fn replace(command: &mut Command) -> Result<()> {
    let error = command.exec();
    Err(error).with_context(|| command.get_program().to_string_lossy().into_owned())
}

fn on_node(cluster: &Directory, node: NodeNumber, command: &[OsString]) -> Result<Command> {
    let pid = cluster
        .process(Role::Node(node))
        .with_context(|| format!("{node} does not run"))?;
    let mut nsenter = Command::new("nsenter");
    nsenter
        .args(["--all", "--target", &pid.to_string(), "--"])
        .args(command);
    Ok(nsenter)
}

/// Prints a log; without a name, or with one that is not there, the names.
fn logs(cluster: &Directory, component: Option<&str>) -> Result<()> {
    let found = cluster.log_files()?;
    let wanted = component.and_then(|name| {
        found
            .iter()
            .find(|(known, _)| known == name || known.ends_with(&format!("/{name}")))
    });
    if let Some((_, path)) = wanted {
        return replace(Command::new("cat").arg(path));
    }
    let names: Vec<&str> = found.iter().map(|(name, _)| name.as_str()).collect();
    match component {
        Some(name) => bail!("there is no log {name}; there are {}", names.join(", ")),
        None => {
            say(&format!("logs: {}", names.join(", ")));
            Ok(())
        }
    }
}
