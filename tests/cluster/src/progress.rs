//! What is going on, for whoever waits.
//! In: steps. Out: lines on standard error; on a terminal a spinner with the last thing a long step said.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

/// Every how many lines a long step is mentioned where there is no terminal.
const MENTION_EVERY: usize = 250;
/// How much of a failed command's output is kept, in lines.
const KEPT: usize = 200;

/// Says a line.
pub fn say(line: &str) {
    // Nobody is told if nobody can be.
    let _ = writeln!(std::io::stderr(), "cluster: {line}");
}

/// Runs a long command, counting the lines it prints; fails with the last of them.
pub(crate) fn follow(step: &str, command: &mut Command) -> Result<()> {
    let bar = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("{spinner} {prefix} {elapsed} {pos} {wide_msg:.dim}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
    bar.set_prefix(step.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {}", command.get_program().to_string_lossy()))?;
    let mut last = std::collections::VecDeque::new();
    if let Some(pipe) = child.stderr.take() {
        for (count, line) in BufReader::new(pipe).split(b'\n').enumerate() {
            let line = String::from_utf8_lossy(&line.context("read a command's output")?)
                .trim()
                .to_owned();
            bar.set_position(count as u64);
            bar.set_message(line.clone());
            if bar.is_hidden() && count % MENTION_EVERY == MENTION_EVERY - 1 {
                say(&format!("{step}: {} lines, now {line}", count + 1));
            }
            if last.len() == KEPT {
                last.pop_front();
            }
            last.push_back(line);
        }
    }
    let status = child.wait().context("wait for a command")?;
    bar.finish_and_clear();
    if !status.success() {
        bail!(
            "{step} failed: {status}\n{}",
            last.into_iter().collect::<Vec<_>>().join("\n")
        );
    }
    Ok(())
}
