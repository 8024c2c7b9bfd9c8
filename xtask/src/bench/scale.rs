//! `cargo xtask bench control-plane` and `apply-to-effect`: the control plane on a real API server.
//! In: options, passed on. Out: a cluster of its own, what `ambit-scale` prints, and no cluster.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use ambit_cluster::{ApiOptions, ClusterName, Directory, NodeNumber, Role, Shape, kill_node};
use anyhow::{Context as _, Result};

use crate::{cluster, images, workspace};

/// Options of both.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Name of the cluster
    #[arg(long, default_value = "scale")]
    name: ClusterName,
    /// Leave the cluster up, for another run
    #[arg(long)]
    keep: bool,
    /// Programs as they were built last, images as they were written last
    #[arg(long)]
    built: bool,
    /// Options of the measurement, after `--`; `-- --help` lists them
    #[arg(last = true)]
    options: Vec<OsString>,
}

/// Where machines with both versions of control groups have the second.
const HYBRID: &str = "/sys/fs/cgroup/unified";
/// Images of the mesh and of what makes requests.
const IMAGES: [&str; 6] = [
    "controller",
    "agent",
    "ztunnel",
    "waypoint",
    "helloworld-v1",
    "curl",
];

/// A controller in front of thousands of pods that nobody runs.
///
/// # Errors
/// Whatever kept it from measuring.
pub(crate) fn control_plane(args: &Args) -> Result<()> {
    let target = workspace::read()?.target_directory;
    if !args.built {
        build(&["ambit-controller", "ambit-scale"])?;
    }
    let directory = up(args, &target, 1)?;
    // Its proxy would follow every change of every Service.
    for node in NodeNumber::first(1)? {
        if directory.process(Role::Node(node)).is_some() {
            kill_node(&directory, node)?;
        }
    }
    let mut measure = measurement(args, &target, "control-plane");
    let controller = target.join("release").join("ambit-controller");
    measure.arg("--controller").arg(controller);
    let crds = workspace::root().join("deploy/charts/base/files/crds");
    measure.arg("--crds").arg(crds).args(&args.options);
    finish(args, &directory, workspace::run(&mut measure))
}

/// A mesh on two nodes, and requests while policies and routes change.
///
/// # Errors
/// Whatever kept it from measuring.
pub(crate) fn effect(args: &Args) -> Result<()> {
    let target = workspace::read()?.target_directory;
    if !args.built {
        build(&["ambit-cli", "ambit-scale"])?;
        images::optimised(&IMAGES)?;
    }
    let directory = up(args, &target, 2)?;
    let measured = install(&directory, &target).and_then(|()| {
        let mut measure = measurement(args, &target, "apply-to-effect");
        workspace::run(measure.args(&args.options))
    });
    finish(args, &directory, measured)
}

fn build(packages: &[&str]) -> Result<()> {
    let mut build = workspace::cargo();
    build.args(["build", "--release"]);
    for package in packages {
        build.args(["--package", package]);
    }
    workspace::run(&mut build)
}

fn up(args: &Args, target: &Path, nodes: u8) -> Result<Directory> {
    let directory = Directory::new(target, args.name.clone())?;
    let shape = Shape {
        nodes: NodeNumber::first(nodes)?,
        dual_stack: false,
        api: ApiOptions::default(),
    };
    let up = ambit_cluster::up(
        &directory,
        &cluster::build_once()?,
        &shape,
        &cluster::own_init()?,
    );
    up.map(|()| directory)
}

fn install(directory: &Directory, target: &Path) -> Result<()> {
    let archive = |image: &&str| target.join(format!("images/{image}.tar"));
    let archives: Vec<PathBuf> = IMAGES.iter().map(archive).collect();
    ambit_cluster::load(directory, &archives)?;
    let netns = directory.name().of(Role::ControlPlane);
    let mut install = Command::new("nsenter");
    install
        .arg(format!("--net=/run/netns/{netns}"))
        .arg("--")
        .arg(target.join("release").join("ambit"))
        .args(["install", "--skip-confirmation"])
        .env("KUBECONFIG", directory.admin());
    if Path::new(HYBRID).is_dir() {
        install.args(["--set", &format!("cni.cgroupPath={HYBRID}")]);
    }
    workspace::run(&mut install)
}

fn measurement(args: &Args, target: &Path, part: &str) -> Command {
    let mut command = Command::new(target.join("release").join("ambit-scale"));
    command.arg("--target").arg(target);
    command.args(["--cluster", &args.name.to_string(), part]);
    command
}

/// Takes the cluster down, unless it is to stay.
fn finish(args: &Args, directory: &Directory, measured: Result<()>) -> Result<()> {
    if args.keep {
        return measured;
    }
    let down = ambit_cluster::down(directory).context("take the cluster down");
    measured.and(down)
}
