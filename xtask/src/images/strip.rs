//! Programs without what only a debugger reads, which is most of their size.
//! In: a built program. Out: a smaller copy; the original keeps everything.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::workspace;

/// Copies a program without its debugging sections, unless a copy of this very program is there.
pub(super) fn copy(program: &Path, to: &Path) -> Result<PathBuf> {
    let name = program.file_name().context("a program has a name")?;
    std::fs::create_dir_all(to).with_context(|| to.display().to_string())?;
    let copy = to.join(name);
    let newer = |a: &Path, b: &Path| {
        Some(a.metadata().ok()?.modified().ok()? > b.metadata().ok()?.modified().ok()?)
    };
    if newer(&copy, program) != Some(true) {
        workspace::run(
            Command::new("strip")
                .args(["--strip-debug", "-o"])
                .arg(&copy)
                .arg(program),
        )?;
    }
    Ok(copy)
}
