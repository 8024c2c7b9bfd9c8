//! A helm of a known version, built from its Go module.
//! In: `deploy/charts/helm/{go.mod,go.sum}`. Out: the program, in the cache beside the checkout's other
//! builds; `cargo xtask helm ARGS…` runs it. Built once per content of those two files.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::workspace;

/// Options of `cargo xtask helm`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Arguments of helm
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

const MODULE: &str = "helm.sh/helm/v3";
/// The Kubernetes that charts are rendered and checked for.
const KUBERNETES: (&str, &str) = ("1", "34");

/// Runs helm at the root of the repository.
///
/// # Errors
/// If it cannot be built, or fails.
pub(crate) fn run(args: &Args) -> Result<()> {
    let mut helm = Command::new(program()?);
    workspace::run(helm.current_dir(workspace::root()).args(&args.args))
}

/// The program; built if it is not there.
///
/// # Errors
/// If there is no Go, or the build fails.
pub(crate) fn program() -> Result<PathBuf> {
    let source = workspace::root().join("deploy/charts/helm");
    let read = |name: &str| {
        let path = source.join(name);
        std::fs::read_to_string(&path).with_context(|| path.display().to_string())
    };
    let (module, sums) = (read("go.mod")?, read("go.sum")?);
    let version = module
        .lines()
        .filter_map(|line| line.trim().strip_prefix(MODULE))
        .find_map(|rest| rest.split_whitespace().next())
        .with_context(|| format!("deploy/charts/helm/go.mod does not require {MODULE}"))?;
    let flags = link_flags(version);
    let hash = hex(&Sha256::digest(
        [&module, &sums, &flags].map(String::as_str).concat(),
    ));
    let dir = ambit_cluster::cache()?.join("helm").join(&hash[..16]);
    let program = dir.join("helm");
    if !program.is_file() {
        build(&source, &dir, &flags, version)?;
    }
    Ok(program)
}

/// Whether there is a Go to build it with.
pub(crate) fn can_be_built() -> bool {
    let go = Command::new("go").arg("version").output();
    go.is_ok_and(|output| output.status.success())
}

/// What helm's own release build stamps in; without it charts would be checked for Kubernetes 1.20.
fn link_flags(version: &str) -> String {
    let mut flags = format!("-s -w -X {MODULE}/internal/version.version={version}");
    for package in ["pkg/chartutil", "pkg/lint/rules"] {
        let (major, minor) = KUBERNETES;
        flags.push_str(&format!(
            " -X {MODULE}/{package}.k8sVersionMajor={major} -X {MODULE}/{package}.k8sVersionMinor={minor}"
        ));
    }
    flags
}

#[expect(clippy::print_stdout, reason = "progress of a build of minutes")]
fn build(source: &Path, dir: &Path, flags: &str, version: &str) -> Result<()> {
    if !can_be_built() {
        bail!("helm is built from its source: please install Go 1.26 or newer (https://go.dev/dl)");
    }
    println!("helm: building {version} once, some minutes");
    std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    let fresh = dir.join(format!(".helm-{}", std::process::id()));
    let built = workspace::run(
        Command::new("go")
            .current_dir(source)
            .env("CGO_ENABLED", "0")
            .env("GOFLAGS", "-mod=readonly -buildvcs=false")
            .args(["build", "-trimpath", "-ldflags", flags, "-o"])
            .arg(&fresh)
            .arg(format!("{MODULE}/cmd/helm")),
    );
    if built.is_err() {
        let _ = std::fs::remove_file(&fresh);
    }
    built?;
    std::fs::rename(&fresh, dir.join("helm")).context("keep helm")
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}
