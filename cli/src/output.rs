//! Printing: tables for people, JSON and YAML for programs, errors with their causes.
//! The only file that writes to standard output.
#![allow(clippy::print_stderr, reason = "printing is this file's job")]

use comfy_table::{Table, presets::NOTHING};
use serde::Serialize;
use std::io::Write;
use std::process::ExitCode;

/// `-o`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Format {
    /// Columns
    #[value(alias = "short")]
    Table,
    /// JSON
    Json,
    /// YAML
    Yaml,
}

/// What a command found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Exit code 0.
    Fine,
    /// Something is wrong with what was looked at: exit code 1.
    Wrong,
    /// `analyze` found something that fails: exit code 79, as istioctl's.
    Found,
}

impl From<Verdict> for ExitCode {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Fine => Self::SUCCESS,
            Verdict::Wrong => Self::from(1),
            Verdict::Found => Self::from(79),
        }
    }
}

/// Prints columns without borders, as kubectl does.
pub(crate) fn table(header: &[&str], rows: impl IntoIterator<Item = Vec<String>>) {
    let mut table = Table::new();
    table.load_preset(NOTHING);
    table.set_header(header);
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 3));
    }
    line(table.trim_fmt());
}

/// Prints a value for programs.
pub(crate) fn value(value: &impl Serialize, format: Format) -> anyhow::Result<()> {
    match format {
        Format::Yaml => text(&serde_saphyr::to_string(value)?),
        Format::Json | Format::Table => line(serde_json::to_string_pretty(value)?),
    }
    Ok(())
}

/// Prints one line.
pub(crate) fn line(line: impl std::fmt::Display) {
    text(&format!("{line}\n"));
}

/// Prints text. A reader that has seen enough, as `head`, ends the command in silence.
pub(crate) fn text(text: &str) {
    let mut out = std::io::stdout();
    if let Err(error) = out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        let closed = error.kind() == std::io::ErrorKind::BrokenPipe;
        std::process::exit(if closed { 0 } else { 2 });
    }
}

/// Prints one line beside the answer.
pub(crate) fn note(text: impl std::fmt::Display) {
    eprintln!("{text}");
}

/// Prints an error and what caused it.
pub(crate) fn error(error: &anyhow::Error) {
    eprintln!("Error: {error:#}");
}
