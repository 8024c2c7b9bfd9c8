//! The system's own commands: `ip` and `nft`.
//! In: arguments and standard input. Out: standard output, or what the command complained about.
//! Never here: deciding what to configure.

use std::io::Write as _;
use std::process::{Command, Stdio};

use thiserror::Error;

use crate::names::NetnsName;

/// Why a command did not do its work.
#[derive(Debug, Error)]
pub enum ToolError {
    /// It could not be started.
    #[error("cannot run {program}; is it installed? (`cargo xtask setup`)")]
    Start {
        /// The program
        program: &'static str,
        /// Why
        #[source]
        source: std::io::Error,
    },
    /// It ran and failed.
    #[error("{program} failed: {stderr}\ninput was:\n{input}")]
    Failed {
        /// The program
        program: &'static str,
        /// What it said
        stderr: String,
        /// What it was to do
        input: String,
    },
}

/// Runs a batch of `ip` commands, one a line, in `netns` or where the caller is.
///
/// # Errors
/// [`ToolError`]; lines before the failing one have taken effect.
pub fn ip(netns: Option<&NetnsName>, batch: &str) -> Result<(), ToolError> {
    let mut args = Vec::new();
    if let Some(netns) = netns {
        args.extend(["-n", netns.as_str()]);
    }
    args.extend(["-batch", "-"]);
    run("ip", &args, batch).map(drop)
}

/// Applies an nftables script in `netns` as one transaction.
///
/// # Errors
/// [`ToolError`]; nothing has taken effect.
pub fn nft(netns: &NetnsName, script: &str) -> Result<(), ToolError> {
    run(
        "ip",
        &["netns", "exec", netns.as_str(), "nft", "-f", "-"],
        script,
    )
    .map(drop)
}

/// Runs `program` and returns its standard output.
///
/// # Errors
/// [`ToolError`].
pub fn run(program: &'static str, args: &[&str], input: &str) -> Result<String, ToolError> {
    let start = |source| ToolError::Start { program, source };
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(start)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A command that dies early says why on standard error.
        let _ = stdin.write_all(input.as_bytes());
    }
    let output = child.wait_with_output().map_err(start)?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(ToolError::Failed {
            program,
            stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            input: format!("{}\n{input}", args.join(" ")),
        })
    }
}
