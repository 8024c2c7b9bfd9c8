//! What the other commands need on the machine, installed if it is missing.
//! In: nothing. Out: `ip`, `nft`, a C compiler, cargo's own components; or what cannot be installed.
//! Can be run again: what is there is left alone.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::workspace::{self, cargo};

/// Options of `cargo xtask setup`.
#[derive(clap::Args)]
pub(crate) struct Args {}

/// A program and the Debian package it comes in.
const PROGRAMS: [(&str, &str); 3] = [("ip", "iproute2"), ("nft", "nftables"), ("cc", "gcc")];
/// A cargo subcommand and the rustup component it comes in.
const COMPONENTS: [(&str, &str); 2] = [("fmt", "rustfmt"), ("clippy", "clippy")];

/// Installs whatever is missing.
///
/// # Errors
/// What is missing and cannot be installed, and why.
pub(crate) fn run(_: &Args) -> Result<()> {
    programs()?;
    components()
}

/// Programs, by apt-get.
pub(crate) fn programs() -> Result<()> {
    let missing: Vec<&str> = PROGRAMS
        .iter()
        .filter(|(program, _)| find(program).is_none())
        .map(|(_, package)| *package)
        .collect();
    if missing.is_empty() {
        say("setup: ip, nft and a C compiler are here");
        return Ok(());
    }
    say(&format!("setup: installing {}", missing.join(", ")));
    if find("apt-get").is_none() {
        bail!(
            "please install {}: there is no apt-get to do it",
            missing.join(", ")
        );
    }
    if !nix::unistd::geteuid().is_root() {
        bail!("please install {}, or run this as root", missing.join(", "));
    }
    apt(&["update"])?;
    let mut install = vec!["install", "--yes", "--no-install-recommends"];
    install.extend(&missing);
    apt(&install)
}

/// Components of the toolchain, by rustup.
fn components() -> Result<()> {
    for (subcommand, component) in COMPONENTS {
        let found = cargo()
            .args([subcommand, "--version"])
            .output()
            .is_ok_and(|o| o.status.success());
        if !found {
            say(&format!("setup: adding the component {component}"));
            let added =
                workspace::run(Command::new("rustup").current_dir(workspace::root()).args([
                    "component",
                    "add",
                    component,
                ]));
            added.with_context(|| format!("please install `cargo {subcommand}`"))?;
        }
    }
    Ok(())
}

/// Fails where a lab cannot be made, and says what is missing.
pub(crate) fn machine() -> Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!("this needs root: it makes network namespaces, cgroups and mounts, and loads eBPF");
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").context("/proc/self/mountinfo")?;
    if !mounts.contains(" - cgroup2 ") {
        bail!(
            "no cgroup2 hierarchy is mounted; `mount -t cgroup2 none /sys/fs/cgroup` on most machines"
        );
    }
    let types = std::fs::read_to_string("/proc/filesystems").context("/proc/filesystems")?;
    if !types
        .lines()
        .any(|line| line.split_whitespace().next_back() == Some("bpf"))
    {
        bail!("the kernel has no bpf file system (CONFIG_BPF_SYSCALL)");
    }
    Ok(())
}

fn apt(args: &[&str]) -> Result<()> {
    workspace::run(
        Command::new("apt-get")
            .env("DEBIAN_FRONTEND", "noninteractive")
            .args(args),
    )
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let system = ["/usr/sbin", "/sbin"].map(|dir| Path::new(dir).to_owned());
    std::env::split_paths(&path)
        .chain(system)
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

#[expect(clippy::print_stdout, reason = "progress of a command")]
fn say(line: &str) {
    println!("{line}");
}
