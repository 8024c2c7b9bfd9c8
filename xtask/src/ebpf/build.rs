//! Compiles and strips the object.
//!
//! In: sources, toolchain. Out: the object's bytes. No path of this machine stays in it: prefixes
//! are remapped, DWARF goes, BTF stays, for the kernel's error messages.

use super::progress::Progress;
use super::toolchain::{self, TARGET, Toolchain};
use anyhow::{Context, Result};
use std::path::Path;
use std::process::Command;

/// Builds `ebpf/programs`.
pub(crate) fn object(root: &Path, toolchain: &Toolchain, progress: &Progress) -> Result<Vec<u8>> {
    let programs = root.join("ebpf/programs");
    let target = programs.join("target");
    let mut cargo = Command::new(&toolchain.cargo);
    cargo
        .current_dir(&programs)
        .args(["build", "--release", "--locked", "--target", TARGET])
        .arg("--target-dir")
        .arg(&target)
        .env("RUSTC", &toolchain.rustc)
        // The kernel side uses inline assembly of a target that is not stable yet.
        .env("RUSTC_BOOTSTRAP", "1")
        .env(
            "CARGO_ENCODED_RUSTFLAGS",
            flags(root, toolchain)?.join("\u{1f}"),
        )
        .env_remove("RUSTFLAGS")
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .env_remove("CARGO_TARGET_DIR");
    progress.run("kernel programs", &mut cargo)?;

    let built = target.join(TARGET).join("release/capture");
    let stripped = target.join("capture.bpf.o");
    let mut strip = Command::new(&toolchain.objcopy);
    strip.arg("--strip-debug").arg(&built).arg(&stripped);
    progress.run("strip", &mut strip)?;
    std::fs::read(&stripped).with_context(|| format!("read {}", stripped.display()))
}

fn flags(root: &Path, toolchain: &Toolchain) -> Result<Vec<String>> {
    let mut flags = vec![
        format!("-Clinker={}", toolchain.linker.display()),
        "-Cdebuginfo=2".to_owned(),
        "-Clink-arg=--btf".to_owned(),
        format!("--remap-path-prefix={}/=", root.display()),
    ];
    let registries = toolchain::cargo_home().join("registry/src");
    for registry in std::fs::read_dir(&registries).into_iter().flatten() {
        let path = registry.context("list crate sources")?.path();
        flags.push(format!("--remap-path-prefix={}=crates", path.display()));
    }
    Ok(flags)
}
