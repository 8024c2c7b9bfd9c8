//! What every crate must say at its root.
//! In: manifests and root files. Out: packages without the workspace's lints, crates that do not forbid
//! `unsafe` and are not among those that may have it.

use anyhow::{Context, Result};
use syn::Meta;

use super::tree::{Source, Tree};
use crate::workspace::{self, Package};

/// Crates that may have `unsafe`; each says why.
const UNSAFE: [&str; 2] = ["common/net", "ebpf/"];

/// Every breach of a package.
///
/// # Errors
/// If its manifest cannot be read.
pub(super) fn check(package: &Package, crates: &[Tree]) -> Result<Vec<String>> {
    let mut breaches = Vec::new();
    let place = package.place();
    let manifest = package.manifest();
    let text = std::fs::read_to_string(manifest).with_context(|| manifest.display().to_string())?;
    if !inherits_lints(&text) {
        breaches.push(format!("{place}: no `[lints] workspace = true`"));
    }
    let may = UNSAFE
        .iter()
        .any(|allowed| place == *allowed || place.starts_with(allowed));
    for tree in crates
        .iter()
        .filter(|tree| tree.kind == "lib" || tree.kind == "bin")
    {
        if let Some(root) = tree
            .files
            .first()
            .filter(|root| !may && !forbids_unsafe(root))
        {
            breaches.push(format!(
                "{}: no `#![forbid(unsafe_code)]`",
                workspace::place(&root.path)
            ));
        }
    }
    Ok(breaches)
}

fn inherits_lints(manifest: &str) -> bool {
    let mut lines = manifest
        .lines()
        .skip_while(|line| line.trim() != "[lints]")
        .skip(1);
    lines
        .find(|line| !line.trim().is_empty())
        .is_some_and(|line| line.trim() == "workspace = true")
}

fn forbids_unsafe(root: &Source) -> bool {
    root.syntax
        .attrs
        .iter()
        .any(|attribute| match &attribute.meta {
            Meta::List(list) => {
                list.path.is_ident("forbid") && list.tokens.to_string().contains("unsafe_code")
            }
            _ => false,
        })
}

#[cfg(test)]
mod tests {
    use super::inherits_lints;

    #[test]
    fn lints_are_inherited_by_the_table_and_its_key() {
        assert!(inherits_lints(
            "[package]\nname = \"a\"\n\n[lints]\nworkspace = true\n"
        ));
        assert!(!inherits_lints("[package]\nname = \"a\"\n"));
        assert!(!inherits_lints(
            "[lints]\n\n[lints.clippy]\nworkspace = true\n"
        ));
    }
}
