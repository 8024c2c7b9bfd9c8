//! Kernel programs to the object that `ambit-ebpf-loader` embeds.
//! In: `ebpf/programs`, `ebpf/common`. Out: `ebpf/programs/prebuilt/{capture.bpf.o, manifest.json}`,
//! both checked in, so that building Ambit needs no LLVM. `--check` proves that they belong
//! together; it installs nothing.

mod build;
mod compare;
mod manifest;
mod progress;
mod toolchain;

use anyhow::{Context, Result, bail};
use manifest::Manifest;
use progress::Progress;
use std::path::Path;
use std::process::Command;
use toolchain::Toolchain;

/// Options of `cargo xtask ebpf`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Fail if the checked-in object is not what the sources give; change and install nothing
    #[arg(long)]
    check: bool,
}

const OBJECT: &str = "ebpf/programs/prebuilt/capture.bpf.o";
const MANIFEST: &str = "ebpf/programs/prebuilt/manifest.json";

/// Builds the object, or checks it.
pub(crate) fn run(args: &Args) -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .context("xtask has a parent directory")?;
    if args.check { check(root) } else { make(root) }
}

fn make(root: &Path) -> Result<()> {
    let progress = Progress::new();
    let toolchain = match Toolchain::find()? {
        Some(found) => found,
        None => toolchain::install(&progress)?,
    };
    let object = build::object(root, &toolchain, &progress)?;
    let manifest = Manifest::new(root, &object, toolchain.versions()?)?;
    let path = root.join(OBJECT);
    std::fs::create_dir_all(path.parent().context("the object has a directory")?)?;
    let changed = std::fs::read(&path).ok().as_ref() != Some(&object);
    std::fs::write(&path, &object).with_context(|| format!("write {}", path.display()))?;
    manifest.write(&root.join(MANIFEST))?;
    progress.done(&format!(
        "{OBJECT}: {} bytes, {}",
        object.len(),
        if changed { "changed" } else { "as before" }
    ));
    Ok(())
}

fn check(root: &Path) -> Result<()> {
    let progress = Progress::new();
    let manifest = Manifest::read(&root.join(MANIFEST))?;
    let object = std::fs::read(root.join(OBJECT)).with_context(|| format!("read {OBJECT}"))?;
    if manifest.sources != manifest::sources_hash(root)? {
        bail!("the kernel programs changed since {OBJECT} was built; run `cargo xtask ebpf`");
    }
    if manifest.object != manifest::hash(&object) {
        bail!("{OBJECT} is not the file its manifest describes; run `cargo xtask ebpf`");
    }
    let Some(toolchain) = Toolchain::find()? else {
        progress.done("sources unchanged; no BPF toolchain here, so the object is load-tested");
        return load_test(root);
    };
    let versions = toolchain.versions()?;
    if versions != manifest.toolchain {
        progress.done(&format!(
            "sources unchanged; built with {}, here is {versions}, so the object is load-tested",
            manifest.toolchain
        ));
        return load_test(root);
    }
    let rebuilt = build::object(root, &toolchain, &progress)?;
    let differences = compare::differences(&object, &rebuilt)?;
    if !differences.is_empty() {
        bail!("{OBJECT} differs from what its sources give: {differences:?}");
    }
    progress.done("sources unchanged; a new build has the same instructions, maps, relocations");
    Ok(())
}

/// Loads the checked-in object and runs the tests that are paired with its programs.
fn load_test(root: &Path) -> Result<()> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .current_dir(root)
        .args([
            "test",
            "--package",
            "ambit-ebpf-loader",
            "--test",
            "capture",
        ])
        .status()
        .context("run cargo test")?;
    if !status.success() {
        bail!("the checked-in object does not pass the tests of its programs");
    }
    Ok(())
}
