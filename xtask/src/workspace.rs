//! The workspace: where it is, where it builds to, which packages it has.
//! In: `cargo metadata`. Out: packages with their directories, dependencies and targets.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own).to_owned()
}

/// The cargo that runs this, at the root of the repository.
pub(crate) fn cargo() -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo"));
    let mut command = Command::new(program);
    command.current_dir(root());
    command
}

/// Runs a command to its end, its output going where ours goes.
///
/// # Errors
/// If it cannot start or fails.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("start {:?}", command.get_program()))?;
    let words: Vec<_> = command
        .get_args()
        .map(|arg| arg.to_string_lossy().into_owned())
        .collect();
    ensure!(
        status.success(),
        "{} {} failed: {status}",
        command.get_program().to_string_lossy(),
        words.join(" ")
    );
    Ok(())
}

/// What `cargo metadata --no-deps` says.
#[derive(Deserialize)]
pub(crate) struct Workspace {
    /// Members
    pub(crate) packages: Vec<Package>,
    /// Where cargo builds to
    pub(crate) target_directory: PathBuf,
}

/// One member.
#[derive(Deserialize)]
pub(crate) struct Package {
    manifest_path: PathBuf,
    /// Direct dependencies of every kind
    pub(crate) dependencies: Vec<Dependency>,
    /// Libraries, programs, tests
    pub(crate) targets: Vec<Target>,
}

/// One direct dependency.
#[derive(Deserialize)]
pub(crate) struct Dependency {
    /// Name in the registry
    pub(crate) name: String,
    /// `dev`, `build` or none for a normal one
    pub(crate) kind: Option<String>,
    /// Directory, if it is a member
    pub(crate) path: Option<PathBuf>,
}

/// One thing cargo builds.
#[derive(Deserialize)]
pub(crate) struct Target {
    /// `lib`, `bin`, `test`, …
    pub(crate) kind: Vec<String>,
    /// Root file
    pub(crate) src_path: PathBuf,
}

impl Package {
    /// Its directory.
    pub(crate) fn directory(&self) -> &Path {
        self.manifest_path.parent().unwrap_or(&self.manifest_path)
    }

    /// Its directory below the root, with `/`.
    pub(crate) fn place(&self) -> String {
        place(self.directory())
    }

    /// Its manifest.
    pub(crate) fn manifest(&self) -> &Path {
        &self.manifest_path
    }
}

/// A path below the root, as text.
pub(crate) fn place(path: &Path) -> String {
    path.strip_prefix(root())
        .unwrap_or(path)
        .display()
        .to_string()
}

/// Asks cargo.
///
/// # Errors
/// If the manifests are broken.
pub(crate) fn read() -> Result<Workspace> {
    let output = cargo()
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .output()
        .context("cargo metadata")?;
    ensure!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).context("cargo metadata")
}
