//! What a program needs to start: the loader and the libraries it names.
//! In: an executable of this machine. Out: the same files at the same places in the image.
//! Asks the loader itself (`ldd`), so only for programs that are trusted.

use std::path::{Path, PathBuf};
use std::process::Command;

use ambit_cluster::image::Tree;
use anyhow::{Context as _, Result, bail};

/// Adds what `ldd` names; nothing for a static program.
pub(super) fn add(tree: &mut Tree, program: &Path) -> Result<()> {
    let output = Command::new("ldd")
        .arg(program)
        .output()
        .context("start ldd")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let complaint = String::from_utf8_lossy(&output.stderr);
    if text.contains("statically linked") || complaint.contains("not a dynamic executable") {
        return Ok(());
    }
    if !output.status.success() {
        bail!("ldd {}: {}", program.display(), complaint.trim());
    }
    for library in parse(&text).with_context(|| format!("ldd {}", program.display()))? {
        if !tree.contains(&library) {
            tree.program(&library, Path::new(&library));
        }
    }
    Ok(())
}

/// Paths in what `ldd` prints: `name => /path (address)` and `/path (address)`.
fn parse(text: &str) -> Result<Vec<String>> {
    let mut paths = Vec::new();
    for line in text.lines().map(str::trim) {
        if line.ends_with("=> not found") {
            bail!("a library is missing: {line}");
        }
        let place = line.split_once(" => ").map_or(line, |(_, place)| place);
        let place = place.split_whitespace().next().unwrap_or_default();
        // The kernel's own (`linux-vdso.so.1`) has no path.
        if place.starts_with('/') {
            paths.push(place.to_owned());
        }
    }
    Ok(paths)
}

/// A program of this machine.
pub(super) fn find(program: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|file| file.is_file());
    found.with_context(|| format!("{program} is not installed (Debian: curl, busybox-static)"))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn loader_and_libraries_are_found_and_missing_ones_reported() {
        let text = "\tlinux-vdso.so.1 (0x7ff)\n\tlibc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x7f)\n\t/lib64/ld-linux-x86-64.so.2 (0x7f)\n";
        assert_eq!(
            parse(text).unwrap(),
            [
                "/lib/x86_64-linux-gnu/libc.so.6",
                "/lib64/ld-linux-x86-64.so.2"
            ]
        );
        assert!(parse("\tlibgone.so => not found\n").is_err());
    }
}
