//! The charts of `deploy/charts`, checked and rendered.
//! In: charts, `deploy/charts/install.yaml`, `deploy/crds`. Out: plain manifests (`deploy/manifests`),
//! kustomizations (`deploy/kustomize`), what the CLI carries (`deploy/manifests/bundle.json`), golden
//! files (`deploy/charts/golden`). `--check` writes nothing and names what differs.
//! One file per output; `render` runs helm for all of them.

mod bundle;
mod golden;
mod kustomize;
mod manifests;
mod plan;
mod render;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

use crate::workspace;

/// Options of `cargo xtask charts`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Fail if what is checked in is not what the charts give
    #[arg(long)]
    check: bool,
    /// Accept what the charts give now as golden
    #[arg(long, conflicts_with = "check")]
    bless: bool,
}

/// Files by path below the root.
type Files = BTreeMap<PathBuf, String>;

/// Lints and renders everything.
///
/// # Errors
/// A chart that helm refuses, or files that differ from what is checked in.
#[expect(clippy::print_stdout, reason = "summary")]
pub(crate) fn run(args: &Args) -> Result<()> {
    let helm = render::Helm::new()?;
    versions()?;
    for chart in plan::CHARTS {
        helm.lint(chart)?;
    }
    let plan = plan::read()?;
    let mut generated = manifests::generate(&helm)?;
    generated.extend(kustomize::generate(&helm, &plan)?);
    generated.extend(bundle::generate(&helm, &plan)?);
    let golden = golden::generate(&helm)?;
    let mut differ = Vec::new();
    settle(&generated, !args.check, &mut differ)?;
    settle(&golden, args.bless, &mut differ)?;
    if !differ.is_empty() {
        bail!(
            "these differ from what the charts give: {}; look at them with `cargo xtask charts \
             --bless` and `git diff`",
            differ.join(", ")
        );
    }
    println!(
        "charts: {} linted, {} files",
        plan::CHARTS.len(),
        generated.len() + golden.len()
    );
    Ok(())
}

/// Writes files, or names those that differ.
fn settle(files: &Files, write: bool, differ: &mut Vec<String>) -> Result<()> {
    for (path, text) in files {
        let full = workspace::root().join(path);
        if std::fs::read_to_string(&full).ok().as_deref() == Some(text) {
            continue;
        }
        if !write {
            differ.push(path.display().to_string());
            continue;
        }
        let dir = full.parent().context("generated files have a directory")?;
        std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
        std::fs::write(&full, text).with_context(|| full.display().to_string())?;
    }
    Ok(())
}

/// Charts and their images have the version of the workspace.
fn versions() -> Result<()> {
    let own = env!("CARGO_PKG_VERSION");
    for chart in plan::CHARTS {
        let path = workspace::root()
            .join("deploy/charts")
            .join(chart)
            .join("Chart.yaml");
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        for field in ["version", "appVersion"] {
            let line = format!("{field}: {own}");
            ensure!(
                text.lines().any(|l| l == line),
                "{}: expected `{line}`",
                path.display()
            );
        }
    }
    Ok(())
}
