//! A kept lab: one process shows the demo and goes on holding the lab after the command has returned.
//! In: this command's own arguments. Out: the holder's output and exit code.
//! The holder closes its output when the demo is over; that is how the command knows.

use std::fs::File;
use std::io::Write as _;
use std::process::Stdio;

use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, dup2_stderr, dup2_stdout, setsid};
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

/// Printed last by a holder whose lab stays up: every step held, or not.
const ENDS: [(u8, bool); 2] = [(0x04, true), (0x05, false)];

/// Starts the holder and shows what it prints until it lets go.
///
/// # Errors
/// If the holder ended instead.
pub(crate) async fn run() -> anyhow::Result<()> {
    let mut holder = Command::new(std::env::current_exe()?)
        .args(std::env::args_os().skip(1))
        .arg("--holder")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("start the process that holds the lab")?;
    let pid = holder
        .id()
        .and_then(|id| i32::try_from(id).ok())
        .context("no process id")?;
    let mut output = holder.stdout.take().context("no output")?;
    let mut chunk = vec![0; 4096];
    let mut end = None;
    loop {
        let n = tokio::select! {
            read = output.read(&mut chunk) => read?,
            _ = tokio::signal::ctrl_c() => {
                let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
                continue;
            }
        };
        if n == 0 {
            break;
        }
        let text = &chunk[..n];
        let last = ENDS.into_iter().find(|(mark, _)| text.last() == Some(mark));
        end = last.or(end);
        std::io::stdout().write_all(if last.is_some() { &text[..n - 1] } else { text })?;
        std::io::stdout().flush()?;
    }
    match end {
        Some((_, true)) => Ok(()),
        Some((_, false)) => anyhow::bail!("the demo did not hold"),
        None => anyhow::bail!("the demo ended: {}", holder.wait().await?),
    }
}

/// Makes this process independent of the terminal it was started from.
pub(crate) fn become_holder() -> anyhow::Result<()> {
    setsid().map(drop).context("own session")
}

/// Lets the starting command return; `held` is its exit code.
pub(crate) fn release(held: bool) -> anyhow::Result<()> {
    let mark = if held { ENDS[0].0 } else { ENDS[1].0 };
    std::io::stdout().write_all(&[mark])?;
    std::io::stdout().flush()?;
    let null = File::options().write(true).open("/dev/null")?;
    dup2_stdout(&null)?;
    dup2_stderr(&null)?;
    Ok(())
}
