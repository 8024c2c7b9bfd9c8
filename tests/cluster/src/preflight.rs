//! What a machine must have.
//! In: the machine. Out: nothing, or everything that is missing, at once. Installs packages only on demand.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::cgroups::Hierarchies;
use crate::process;
use crate::progress::say;

/// A program and the Debian package it comes in.
const PROGRAMS: [(&str, &str); 9] = [
    ("containerd", "containerd"),
    ("ctr", "containerd"),
    ("containerd-shim-runc-v2", "containerd"),
    ("runc", "runc"),
    ("nft", "nftables"),
    ("iptables", "iptables"),
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
    ("mount", "mount"),
];
/// CNI plugins of a node and the Debian package they come in.
const PLUGINS: [&str; 4] = ["ptp", "host-local", "portmap", "loopback"];
const PLUGINS_PACKAGE: &str = "containernetworking-plugins";
/// Where distributions put them.
const PLUGIN_DIRS: [&str; 3] = ["/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"];
/// File systems that the kernel must have.
const FILE_SYSTEMS: [&str; 3] = ["overlay", "bpf", "cgroup2"];

/// Fails if a cluster cannot be made here, and says everything that is missing.
///
/// # Errors
/// The list.
pub fn machine() -> Result<()> {
    let mut missing = Vec::new();
    if !nix::unistd::geteuid().is_root() {
        missing.push("root: it makes namespaces, control groups and mounts".to_owned());
    }
    let packages = packages();
    if !packages.is_empty() {
        missing.push(format!(
            "packages {} (`cargo xtask cluster build` installs them)",
            packages.join(", ")
        ));
    }
    let known = process::read(Path::new("/proc/filesystems"))?;
    let has = |name: &str| {
        known
            .lines()
            .any(|line| line.split_whitespace().next_back() == Some(name))
    };
    missing.extend(
        FILE_SYSTEMS
            .iter()
            .filter(|name| !has(name))
            .map(|name| format!("file system {name}")),
    );
    if let Err(error) = Hierarchies::find() {
        missing.push(format!("control groups: {error:#}"));
    }
    if !missing.is_empty() {
        bail!(
            "a cluster cannot be made here; missing:\n  {}",
            missing.join("\n  ")
        );
    }
    Ok(())
}

/// Installs the packages that a cluster needs and that are missing.
///
/// # Errors
/// No `apt-get`, no right to use it, or its complaint.
pub fn install_packages() -> Result<()> {
    install(&packages())
}

/// Installs the packages of those programs that are missing: program and Debian package.
///
/// # Errors
/// As [`install_packages`].
pub fn install_programs(programs: &[(&str, &'static str)]) -> Result<()> {
    install(&missing(programs))
}

fn install(packages: &[&str]) -> Result<()> {
    if packages.is_empty() {
        return Ok(());
    }
    if process::find("apt-get").is_none() || !nix::unistd::geteuid().is_root() {
        bail!("please install {} (Debian's names)", packages.join(", "));
    }
    say(&format!("installing {}", packages.join(", ")));
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(arguments);
        process::output(&mut command).map(drop)
    };
    apt(&["update"])?;
    let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
    arguments.extend(packages);
    apt(&arguments)
}

fn missing(programs: &[(&str, &'static str)]) -> Vec<&'static str> {
    let mut packages: Vec<&str> = programs
        .iter()
        .filter(|(program, _)| process::find(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    packages.dedup();
    packages
}

fn packages() -> Vec<&'static str> {
    let mut packages = missing(&PROGRAMS);
    if cni_plugins().is_err() {
        packages.push(PLUGINS_PACKAGE);
    }
    packages
}

/// The files of the CNI plugins.
pub(crate) fn cni_plugins() -> Result<Vec<PathBuf>> {
    let find = |name: &&str| {
        PLUGIN_DIRS
            .iter()
            .map(|dir| Path::new(dir).join(name))
            .find(|file| file.is_file())
    };
    PLUGINS
        .iter()
        .map(|name| find(name).with_context(|| format!("the CNI plugin {name} is not installed")))
        .collect()
}
