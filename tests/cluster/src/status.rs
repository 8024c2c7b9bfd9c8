//! What a cluster is like now.
//! In: a state directory. Out: a text: programs, parts, and what the API server says about its nodes.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;

use crate::binaries::{Binaries, KUBERNETES_VERSION};
use crate::cgroups::Hierarchies;
use crate::kubectl::run;
use crate::network;
use crate::state::Directory;

/// Describes it.
///
/// # Errors
/// State that cannot be read. A cluster that is not up is described as such.
pub fn status(directory: &Directory) -> Result<String> {
    let mut text = String::new();
    match Binaries::cached()? {
        Some(binaries) => writeln!(
            text,
            "Kubernetes {KUBERNETES_VERSION} in {}",
            binaries.dir().display()
        )?,
        None => writeln!(
            text,
            "Kubernetes {KUBERNETES_VERSION} is not built: `cargo xtask cluster build`"
        )?,
    }
    if directory.composition()?.is_none() {
        writeln!(text, "cluster {} is not up", directory.name())?;
        let prefix = directory.name().prefix();
        let left: Vec<String> = network::namespaces()?
            .into_iter()
            .filter(|n| n.starts_with(&prefix))
            .collect();
        if !left.is_empty() {
            writeln!(
                text,
                "left of it: {}; `cargo xtask cluster down`",
                left.join(", ")
            )?;
        }
        return Ok(text);
    }
    writeln!(
        text,
        "cluster {} in {}",
        directory.name(),
        directory.path().display()
    )?;
    for role in directory.roles()? {
        match directory.running(role) {
            Some(running) => writeln!(
                text,
                "{role}: process {}, netns {}",
                running.pid,
                directory.name().of(role)
            )?,
            None => writeln!(text, "{role}: not running")?,
        }
    }
    if let Some(v2) = Hierarchies::find()?.all().iter().find(|h| h.is_v2()) {
        writeln!(
            text,
            "cgroup2 of a node: {} (value `cgroupPath`)",
            in_node(&v2.mount).display()
        )?;
    }
    writeln!(text, "kubeconfig {}", directory.admin().display())?;
    match run(directory, &["get", "nodes", "--output=wide"]) {
        Ok(nodes) => text.push_str(&nodes),
        Err(error) => writeln!(text, "the API server does not answer: {error:#}")?,
    }
    Ok(text)
}

/// Where a node mounts the machine's hierarchy: at the same place, always below this directory.
fn in_node(mount: &Path) -> &Path {
    let root = Path::new("/sys/fs/cgroup");
    if mount.starts_with(root) { mount } else { root }
}
