//! What belongs to the checked-in object.
//!
//! In: sources, object, versions. Out: `manifest.json`. The hash covers every file that can change
//! an instruction: both crates and the lock.

use super::toolchain::Versions;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// SHA-256 over names and contents of the sources, hex.
    pub(crate) sources: String,
    /// SHA-256 of the object, hex.
    pub(crate) object: String,
    /// What built it.
    pub(crate) toolchain: Versions,
}

const FILES: [&str; 3] = [
    "ebpf/common/Cargo.toml",
    "ebpf/programs/Cargo.lock",
    "ebpf/programs/Cargo.toml",
];
const DIRECTORIES: [&str; 2] = ["ebpf/common/src", "ebpf/programs/src"];

impl Manifest {
    pub(crate) fn new(root: &Path, object: &[u8], toolchain: Versions) -> Result<Self> {
        Ok(Self {
            sources: sources_hash(root)?,
            object: hash(object),
            toolchain,
        })
    }

    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read(path)
            .with_context(|| format!("read {}; run `cargo xtask ebpf`", path.display()))?;
        serde_json::from_slice(&text).with_context(|| format!("parse {}", path.display()))
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        std::fs::write(path, text).with_context(|| format!("write {}", path.display()))
    }
}

/// Hash of every source, with names, so that moving a file counts.
pub(crate) fn sources_hash(root: &Path) -> Result<String> {
    let mut files: Vec<PathBuf> = FILES.iter().map(PathBuf::from).collect();
    for directory in DIRECTORIES {
        collect(root, Path::new(directory), &mut files)?;
    }
    files.sort();
    let mut hasher = Sha256::new();
    for file in files {
        let content =
            std::fs::read(root.join(&file)).with_context(|| format!("read {}", file.display()))?;
        hasher.update(format!("{}\0{}\0", file.display(), content.len()));
        hasher.update(&content);
    }
    Ok(hex(&hasher.finalize()))
}

/// SHA-256 in hex.
pub(crate) fn hash(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn collect(root: &Path, directory: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = std::fs::read_dir(root.join(directory))
        .with_context(|| format!("list {}", directory.display()))?;
    for entry in entries {
        let entry = entry?;
        let path = directory.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            collect(root, &path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
