//! `ambit man DIR`: one manual page per command.

use std::path::PathBuf;

use anyhow::{Context, Result};

use crate::output::{self, Verdict};

/// Options of `ambit man`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Directory to write to
    dir: PathBuf,
}

/// Writes the pages of a command and of all below it.
///
/// # Errors
/// If the directory cannot be written.
pub(crate) fn run(args: &Args, command: clap::Command) -> Result<Verdict> {
    std::fs::create_dir_all(&args.dir).with_context(|| args.dir.display().to_string())?;
    clap_mangen::generate_to(command, &args.dir).context("manual pages")?;
    output::line(format_args!("manual pages are in {}", args.dir.display()));
    Ok(Verdict::Fine)
}
