//! Kubernetes, built from source once and kept.
//! In: `deploy/cluster/go`. Out: a directory with `kubebox`, `coredns`, `pause` and the images of the
//! last two, named by the hash of everything they are made from.
//! Owns: `<cache>/cluster`, where the cache is `AMBIT_CACHE_DIR`, `/var/cache/ambit` or `~/.cache/ambit`.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use nix::fcntl::{Flock, FlockArg};

use crate::image::Digest;
use crate::progress::{follow, say};
use crate::{base, go, process};

/// The version that nodes and API server report; the one in `go.mod`.
pub const KUBERNETES_VERSION: &str = "v1.34.4";

/// Programs of the module, in `cmd/`.
const PROGRAMS: [&str; 3] = ["kubebox", "coredns", "pause"];
/// Parts of Kubernetes that need no cloud.
const TAGS: &str = "providerless,nolegacyproviders,grpcnotrace";

/// A directory with everything built.
#[derive(Clone, Debug)]
pub struct Binaries {
    dir: PathBuf,
}

impl Binaries {
    /// Where they are.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What was built from today's sources, if it was.
    ///
    /// # Errors
    /// Sources or cache that cannot be read.
    pub fn cached() -> Result<Option<Self>> {
        let dir = place(&sources())?;
        Ok(dir.join("complete").exists().then_some(Self { dir }))
    }

    /// Builds them unless they are there.
    ///
    /// # Errors
    /// No Go, no network, or what the compiler says.
    pub fn build() -> Result<Self> {
        let sources = sources();
        let dir = place(&sources)?;
        let cache = dir.parent().context("the cache has a directory")?;
        process::directory(cache)?;
        let lock = File::create(cache.join("lock")).context("make a lock")?;
        let _held = Flock::lock(lock, FlockArg::LockExclusive)
            .map_err(|(_, error)| error)
            .context("wait for another build")?;
        if !dir.join("complete").exists() {
            let unfinished = cache.join("unfinished");
            if unfinished.exists() {
                std::fs::remove_dir_all(&unfinished).context("clear an unfinished build")?;
            }
            process::directory(&unfinished)?;
            compile(&sources, &unfinished)?;
            base::write_images(&unfinished)?;
            process::write(&unfinished.join("complete"), KUBERNETES_VERSION)?;
            std::fs::rename(&unfinished, &dir).with_context(|| dir.display().to_string())?;
        }
        Ok(Self { dir })
    }
}

fn compile(sources: &Path, to: &Path) -> Result<()> {
    say(&format!(
        "building Kubernetes {KUBERNETES_VERSION}: once, about 2700 packages, 7 minutes on two idle cores"
    ));
    let mut go = go::command()?;
    go.current_dir(sources)
        .env("CGO_ENABLED", "0")
        .args([
            "build",
            "-v",
            "-trimpath",
            "-mod=readonly",
            "-buildvcs=false",
            "-tags",
            TAGS,
        ])
        .args(["-ldflags", &linker_flags()])
        .arg("-o")
        .arg(to);
    for program in PROGRAMS {
        go.arg(format!("./cmd/{program}"));
    }
    follow("Kubernetes", &mut go)
}

/// Without these the programs say that they are version 0.0.0.
fn linker_flags() -> String {
    let minor = KUBERNETES_VERSION.split('.').nth(1).unwrap_or_default();
    let mut flags = vec!["-s -w".to_owned()];
    for package in [
        "k8s.io/component-base/version",
        "k8s.io/client-go/pkg/version",
    ] {
        flags.push(format!("-X {package}.gitVersion={KUBERNETES_VERSION}"));
        flags.push(format!(
            "-X {package}.gitMajor=1 -X {package}.gitMinor={minor}"
        ));
    }
    flags.push("-X k8s.io/component-base/version.gitTreeState=clean".to_owned());
    flags.join(" ")
}

fn sources() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/cluster/go")
}

/// The directory for exactly these sources.
fn place(sources: &Path) -> Result<PathBuf> {
    let mut files = Vec::new();
    list(sources, &mut files)?;
    files.sort();
    let mut hashed = format!("{}\n{TAGS}\n", linker_flags()).into_bytes();
    for file in &files {
        let name = file.strip_prefix(sources).unwrap_or(file);
        hashed.extend(name.as_os_str().as_encoded_bytes());
        hashed.push(0);
        hashed.extend(std::fs::read(file).with_context(|| file.display().to_string())?);
        hashed.push(0);
    }
    Ok(cache()?
        .join("cluster")
        .join(&Digest::of(&hashed).hex()[..16]))
}

fn list(dir: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            list(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// Where builds that outlive a checkout are kept: `AMBIT_CACHE_DIR`, `/var/cache/ambit` for root, else
/// `~/.cache/ambit`.
///
/// # Errors
/// Nothing says where.
pub fn cache() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("AMBIT_CACHE_DIR") {
        return Ok(PathBuf::from(dir));
    }
    if nix::unistd::geteuid().is_root() {
        return Ok(PathBuf::from("/var/cache/ambit"));
    }
    match std::env::var_os("HOME") {
        Some(home) => Ok(Path::new(&home).join(".cache/ambit")),
        None => bail!("neither AMBIT_CACHE_DIR nor HOME says where to keep what was built"),
    }
}
