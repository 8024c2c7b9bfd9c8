//! How the control plane bears a large cluster, and how soon a change has its effect on traffic.
//! In: a cluster of `cargo xtask cluster`, a controller. Out: figures with their goals beside them.
//! Two parts talk to a real API server; one makes up pods and nodes, the other uses real ones. A third asks
//! the index alone.
//! Never here: a promise. Machines differ, and this one also runs the API server and all clients.
#![forbid(unsafe_code)]

mod api;
mod control_plane;
mod derivation;
mod effect;
mod figures;

use ambit_cluster::{ClusterName, Directory, enter_control_plane};
use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};
use std::future::Future;
use std::path::PathBuf;

#[derive(Parser)]
#[command(
    name = "ambit-scale",
    about = "Measures the control plane on a real API server"
)]
struct Cli {
    /// Cargo's build directory, which holds the cluster's state
    #[arg(long)]
    target: Option<PathBuf>,
    /// Name of the cluster
    #[arg(long)]
    cluster: Option<ClusterName>,
    #[command(subcommand)]
    part: Part,
}

#[derive(Subcommand)]
enum Part {
    /// Thousands of pods, a hundred nodes over xDS
    ControlPlane(control_plane::Args),
    /// The same change by change in this process, without a cluster: what deriving costs
    Derivation(derivation::Args),
    /// Policies and routes under requests, where the mesh is installed
    ApplyToEffect(effect::Args),
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let directory = || {
        let target = cli.target.as_deref().context("--target is missing")?;
        let name = cli.cluster.clone().context("--cluster is missing")?;
        Directory::new(target, name)
    };
    match &cli.part {
        Part::ControlPlane(args) => {
            let directory = directory()?;
            inside(&directory, control_plane::run(args, &directory))
        }
        Part::Derivation(args) => derivation::run(args),
        Part::ApplyToEffect(args) => {
            let directory = directory()?;
            inside(&directory, effect::run(args, &directory))
        }
    }
}

/// Runs where the API server can be reached. Threads are made after the move, and so come along.
fn inside(directory: &Directory, work: impl Future<Output = Result<()>>) -> Result<()> {
    enter_control_plane(directory)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("start a runtime")?;
    runtime.block_on(work)
}
