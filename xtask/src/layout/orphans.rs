//! Files that nothing compiles.
//! In: the files of a package on disk and the files its crates reach. Out: the difference.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::tree::Tree;
use crate::workspace::{self, Package};

/// Every breach of a package.
///
/// # Errors
/// If the directory cannot be read.
pub(super) fn check(package: &Package, crates: &[Tree]) -> Result<Vec<String>> {
    let mut reached: BTreeSet<PathBuf> = BTreeSet::new();
    for tree in crates {
        reached.extend(tree.files.iter().map(|file| file.path.clone()));
        reached.extend(tree.included.iter().map(|path| normal(path)));
    }
    let mut on_disk = Vec::new();
    walk(package.directory(), true, &mut on_disk)?;
    Ok(on_disk
        .iter()
        .filter(|path| !reached.contains(*path))
        .map(|path| format!("{} is compiled by nothing", workspace::place(path)))
        .collect())
}

fn walk(dir: &Path, top: bool, found: &mut Vec<PathBuf>) -> Result<()> {
    // A directory with a manifest is another package.
    if !top && dir.join("Cargo.toml").exists() {
        return Ok(());
    }
    for entry in std::fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let entry = entry?;
        let path = entry.path();
        let name = entry.file_name();
        if entry.file_type()?.is_dir() {
            if name != "target" && !name.to_string_lossy().starts_with('.') {
                walk(&path, false, found)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

/// The path without `..`.
fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for part in path.components() {
        if part.as_os_str() == ".." {
            out.pop();
        } else {
            out.push(part);
        }
    }
    out
}
