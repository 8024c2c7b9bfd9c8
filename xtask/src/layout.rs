//! The shape of the workspace, checked.
//! In: manifests and sources. Out: every breach of the rules of ARCHITECTURE.md ("Layers") and of the
//! style of files; then the longest files and functions, which are for a second look only.
//! One rule per file; `tree` reads the modules of a crate for all of them.

mod cycles;
mod heavy;
mod layers;
mod orphans;
mod roots;
mod sizes;
mod tree;

use anyhow::{Result, ensure};

use crate::workspace;

/// Options of `cargo xtask layout`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// How many of the longest files and functions to list
    #[arg(long, default_value_t = 10)]
    longest: usize,
}

impl Default for Args {
    fn default() -> Self {
        Self { longest: 10 }
    }
}

/// Checks everything and lists the longest.
///
/// # Errors
/// The number of breaches, after all of them were printed.
#[expect(clippy::print_stdout, reason = "the findings are the output")]
pub(crate) fn run(args: &Args) -> Result<()> {
    let workspace = workspace::read()?;
    let mut breaches = layers::check(&workspace.packages);
    breaches.extend(heavy::check(&workspace.packages));
    let mut files = Vec::new();
    for package in &workspace.packages {
        let crates = tree::crates(package)?;
        breaches.extend(roots::check(package, &crates)?);
        breaches.extend(cycles::check(package, &crates));
        breaches.extend(orphans::check(package, &crates)?);
        files.extend(crates.into_iter().flat_map(|tree| tree.files));
    }
    for line in sizes::longest(&files, args.longest) {
        println!("{line}");
    }
    for breach in &breaches {
        println!("breach: {breach}");
    }
    ensure!(
        breaches.is_empty(),
        "{} breaches of the layout",
        breaches.len()
    );
    println!(
        "layout: {} packages, {} files, no breach",
        workspace.packages.len(),
        files.len()
    );
    Ok(())
}
