//! The compiler, linker and stripper for the BPF target.
//!
//! In: what the machine has. Out: paths and versions; `install` adds what is missing and leaves the
//! rest alone. The distribution's compiler is used because it ships `core` for the target; it
//! stands beside the one that builds everything else and is called by its path.

use super::progress::Progress;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::process::Command;

/// `core` for this target comes with the compiler.
pub(crate) const TARGET: &str = "bpfel-unknown-none";

const RUSTC: &str = "/usr/bin/rustc";
const CARGO: &str = "/usr/bin/cargo";
/// Must be the LLVM that the compiler emits bitcode for.
const LLVM: &str = "/usr/lib/llvm-22";
const PACKAGES: [&str; 7] = [
    "rustc-web",
    "cargo-web",
    "libstd-rust-web-dev-bpf",
    "llvm-22-dev",
    "libpolly-22-dev",
    "zlib1g-dev",
    "libzstd-dev",
];
const LINKER_VERSION: &str = "0.13.0";

/// Everything needed, found.
pub(crate) struct Toolchain {
    pub(crate) rustc: PathBuf,
    pub(crate) cargo: PathBuf,
    pub(crate) linker: PathBuf,
    pub(crate) objcopy: PathBuf,
}

/// What decides about the instructions.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Versions {
    rustc: String,
    #[serde(rename = "bpf-linker")]
    bpf_linker: String,
    llvm: String,
}

impl std::fmt::Display for Versions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, {}, LLVM {}", self.rustc, self.bpf_linker, self.llvm)
    }
}

impl Toolchain {
    /// `None` if a part is missing.
    pub(crate) fn find() -> Result<Option<Self>> {
        let (rustc, cargo) = (PathBuf::from(RUSTC), PathBuf::from(CARGO));
        let objcopy = Path::new(LLVM).join("bin/llvm-objcopy");
        let Some(linker) = linker() else {
            return Ok(None);
        };
        if !rustc.exists() || !cargo.exists() || !objcopy.exists() || !has_target(&rustc)? {
            return Ok(None);
        }
        Ok(Some(Self {
            rustc,
            cargo,
            linker,
            objcopy,
        }))
    }

    /// Versions of the parts.
    pub(crate) fn versions(&self) -> Result<Versions> {
        let llvm = output(Command::new(Path::new(LLVM).join("bin/llvm-config")).arg("--version"))?;
        Ok(Versions {
            rustc: first_line(&output(Command::new(&self.rustc).arg("--version"))?),
            bpf_linker: first_line(&output(Command::new(&self.linker).arg("--version"))?),
            llvm: first_line(&llvm),
        })
    }
}

/// Installs what is missing.
pub(crate) fn install(progress: &Progress) -> Result<Toolchain> {
    let missing: Vec<_> = PACKAGES
        .into_iter()
        .filter(|name| !installed(name))
        .collect();
    if !missing.is_empty() {
        install_packages(&missing, progress)?;
    }
    if linker().is_none() {
        install_linker(progress)?;
    }
    Toolchain::find()?.context("the toolchain is installed but a part of it cannot be found")
}

fn install_packages(missing: &[&str], progress: &Progress) -> Result<()> {
    if !Path::new("/usr/bin/apt-get").exists() {
        bail!(
            "building the kernel programs needs a Rust compiler with core for {TARGET} at {RUSTC}, \
             LLVM at {LLVM} and bpf-linker {LINKER_VERSION}; only Debian's packages are installed \
             for you"
        );
    }
    if !nix::unistd::geteuid().is_root() {
        bail!("as root, run: apt-get install {}", missing.join(" "));
    }
    let get = |step: &str, words: &[&str]| {
        let mut command = Command::new("apt-get");
        command
            .env("DEBIAN_FRONTEND", "noninteractive")
            .arg("--yes")
            .args(words);
        progress.run(step, &mut command)
    };
    get("package lists", &["update"])?;
    let mut words = vec!["install", "--no-install-recommends"];
    words.extend(missing);
    get("compiler and LLVM", &words)
}

fn install_linker(progress: &Progress) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .env("LLVM_PREFIX", LLVM)
        .args(["install", "bpf-linker", "--locked"])
        .args(["--version", LINKER_VERSION])
        .args(["--no-default-features", "--features", "llvm-22"]);
    progress.run("bpf-linker", &mut command)
}

/// bpf-linker, on the path or where cargo installs.
fn linker() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([cargo_home().join("bin")])
        .map(|directory| directory.join("bpf-linker"))
        .find(|file| file.is_file())
}

/// Where cargo keeps its things.
pub(crate) fn cargo_home() -> PathBuf {
    match std::env::var_os("CARGO_HOME") {
        Some(home) => home.into(),
        None => std::env::home_dir().unwrap_or_default().join(".cargo"),
    }
}

fn has_target(rustc: &Path) -> Result<bool> {
    let sysroot = first_line(&output(Command::new(rustc).args(["--print", "sysroot"]))?);
    Ok(Path::new(&sysroot)
        .join("lib/rustlib")
        .join(TARGET)
        .is_dir())
}

fn installed(package: &str) -> bool {
    let query = Command::new("dpkg-query")
        .args(["--show", "--showformat", "${db:Status-Status}", package])
        .output();
    query.is_ok_and(|output| output.stdout == b"installed")
}

fn output(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("run {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} ended with {}", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("output of {command:?}"))
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().to_owned()
}
