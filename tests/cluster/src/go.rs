//! The Go that builds Kubernetes.
//! In: `PATH`, `/usr/local/go`. Out: commands of a Go that can fetch the toolchain the sources ask for.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::process;

/// The first Go that fetches a newer toolchain by itself, as 1.x.
const OLDEST: u32 = 21;

/// A `go` command.
///
/// # Errors
/// No Go, or one that is too old; the text says where to get it.
pub(crate) fn command() -> Result<Command> {
    let go = find().context(
        "Go is needed once, to build Kubernetes, and was not found in PATH nor in /usr/local/go/bin. \
         Distributions' packages are often too old; unpack https://go.dev/dl/ into /usr/local/go",
    )?;
    let version = process::output(Command::new(&go).args(["env", "GOVERSION"]))?;
    match minor(version.trim()) {
        Some(minor) if minor >= OLDEST => Ok(Command::new(go)),
        _ => bail!(
            "{} is {}; 1.{OLDEST} or newer is needed (it fetches the exact toolchain itself)",
            go.display(),
            version.trim()
        ),
    }
}

fn find() -> Option<PathBuf> {
    let usual = PathBuf::from("/usr/local/go/bin/go");
    process::find("go").or_else(|| usual.is_file().then_some(usual))
}

/// The x of `go1.x…`; a development version has none.
fn minor(version: &str) -> Option<u32> {
    let rest = version.strip_prefix("go1.")?;
    rest.split(|c: char| !c.is_ascii_digit())
        .next()?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::minor;

    #[test]
    fn versions_are_compared_by_their_minor_number() {
        assert_eq!(minor("go1.26.8"), Some(26));
        assert_eq!(minor("go1.21rc2"), Some(21));
        assert_eq!(minor("go2.0"), None);
        assert_eq!(minor("devel go1.27-abc"), None);
    }
}
