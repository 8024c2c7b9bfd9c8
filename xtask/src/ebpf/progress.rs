//! What is going on, for whoever waits.
//!
//! In: steps, commands. Out: a spinner with the command's last line on a terminal, one line a step
//! elsewhere. On failure everything the command said.

use anyhow::{Context, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::{BufRead, BufReader, Write};
use std::process::{Command, Stdio};
use std::time::Duration;

pub(crate) struct Progress(ProgressBar);

impl Progress {
    pub(crate) fn new() -> Self {
        let bar = ProgressBar::new_spinner();
        bar.set_style(
            ProgressStyle::with_template("{spinner} {prefix} {elapsed} {wide_msg:.dim}")
                .unwrap_or_else(|_| ProgressStyle::default_spinner()),
        );
        Self(bar)
    }

    /// Runs a command as a step; fails with its output.
    pub(crate) fn run(&self, step: &str, command: &mut Command) -> Result<()> {
        self.0.set_prefix(step.to_owned());
        self.0.enable_steady_tick(Duration::from_millis(120));
        if self.0.is_hidden() {
            self.say(step);
        }
        let (reader, writer) = std::io::pipe().context("make a pipe")?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(writer.try_clone().context("copy a pipe")?)
            .stderr(writer)
            .spawn()
            .with_context(|| format!("run {command:?}"))?;
        // The command keeps the writing ends; without this the reader would never see the end.
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut output = String::new();
        for line in BufReader::new(reader).split(b'\n') {
            let line = String::from_utf8_lossy(&line.context("read the output")?).into_owned();
            self.0.set_message(line.trim().to_owned());
            output.push_str(&line);
            output.push('\n');
        }
        let status = child.wait().context("wait for the command")?;
        if !status.success() {
            bail!("{step}: {command:?} ended with {status}\n{output}");
        }
        Ok(())
    }

    /// The last word.
    pub(crate) fn done(&self, message: &str) {
        self.0.finish_and_clear();
        self.say(message);
    }

    fn say(&self, message: &str) {
        // Nobody is told if nobody can be.
        let _ = self
            .0
            .suspend(|| writeln!(std::io::stderr(), "ebpf: {message}"));
    }
}
