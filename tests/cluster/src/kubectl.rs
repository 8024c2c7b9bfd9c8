//! `kubectl`, where the cluster can be reached.
//! In: a cluster, arguments. Out: commands in the network namespace of its control plane, with its
//! kubeconfig. API server, nodes and pods are routable there; ClusterIPs are not, for there is no kube-proxy.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use nix::sched::{CloneFlags, setns};
use serde::de::DeserializeOwned;

use crate::names::Role;
use crate::process;
use crate::state::Directory;

/// A `kubectl` command without arguments.
///
/// # Errors
/// The cluster was never up.
pub fn kubectl(directory: &Directory) -> Result<Command> {
    let composition = directory.composition()?;
    let composition = composition.with_context(|| {
        format!(
            "there is no cluster {}; `cargo xtask cluster up`",
            directory.name()
        )
    })?;
    let mut command = Command::new("nsenter");
    command
        .arg(format!(
            "--net=/run/netns/{}",
            directory.name().of(Role::ControlPlane)
        ))
        .arg("--")
        .arg(composition.binaries.join("kubebox"))
        .args(["kubectl", "--kubeconfig"])
        .arg(directory.admin());
    Ok(command)
}

/// Moves this thread into the network namespace of the control plane; what it starts is there too.
///
/// # Errors
/// The cluster is not up.
pub fn enter_control_plane(directory: &Directory) -> Result<()> {
    let netns = Path::new("/run/netns").join(directory.name().of(Role::ControlPlane));
    let file =
        File::open(&netns).with_context(|| format!("cluster {} is not up", directory.name()))?;
    setns(file, CloneFlags::CLONE_NEWNET).context("enter the network namespace")
}

/// Runs `kubectl` and gives what it prints.
pub(crate) fn run(directory: &Directory, arguments: &[&str]) -> Result<String> {
    process::output(kubectl(directory)?.args(arguments))
}

/// Runs `kubectl get … --output=json` and reads the answer.
pub(crate) fn get<T: DeserializeOwned>(directory: &Directory, arguments: &[&str]) -> Result<T> {
    let mut command = kubectl(directory)?;
    command.arg("get").args(arguments).arg("--output=json");
    let text = process::output(&mut command)?;
    serde_json::from_str(&text).with_context(|| format!("kubectl get {}", arguments.join(" ")))
}

/// Applies YAML by server-side apply.
pub(crate) fn apply(directory: &Directory, yaml: &str) -> Result<()> {
    let mut command = kubectl(directory)?;
    command.args([
        "apply",
        "--server-side",
        "--force-conflicts",
        "--field-manager=ambit-cluster",
        "-f",
        "-",
    ]);
    process::feed(&mut command, yaml).map(drop)
}
