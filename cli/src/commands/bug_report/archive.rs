//! The archive: text files in a gzipped tar, redacted, of bounded size, with a list of what is missing.

use std::io::Write;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Serialize;
use tar::{Builder, Header};

use super::redact::redact;

/// Folder that everything is in.
const ROOT: &str = "ambit-bug-report";
/// No single file is larger; of a longer text the end is kept, where the newest is.
const LARGEST_FILE: usize = 32 << 20;

/// An archive that grows.
pub(super) struct Archive<W: Write> {
    tar: Builder<GzEncoder<W>>,
    left: u64,
    written: Done,
}

/// What an archive has.
#[derive(Debug, Default)]
pub(super) struct Done {
    /// Files
    pub(super) files: usize,
    /// What could not be had, each with the reason
    pub(super) failures: Vec<String>,
}

impl<W: Write> Archive<W> {
    /// One of at most so many bytes before compression.
    pub(super) fn new(out: W, largest: u64) -> Self {
        Self {
            tar: Builder::new(GzEncoder::new(out, Compression::default())),
            left: largest,
            written: Done::default(),
        }
    }

    /// Adds a text, without keys and tokens. What is too large is noted instead.
    ///
    /// # Errors
    /// If the archive cannot be written.
    pub(super) fn text(&mut self, path: &str, text: &str) -> Result<()> {
        let text = redact(end_of(text, LARGEST_FILE));
        let size = text.len() as u64;
        if size > self.left {
            let note = format!("{path}: left out, the report would be larger than allowed");
            self.written.failures.push(note);
            return Ok(());
        }
        self.left -= size;
        self.add(path, text.as_bytes())
    }

    /// Adds a value.
    ///
    /// # Errors
    /// As [`Archive::text`].
    pub(super) fn json(&mut self, path: &str, value: &impl Serialize) -> Result<()> {
        self.text(path, &serde_json::to_string_pretty(value)?)
    }

    /// Notes that something is missing.
    pub(super) fn failed(&mut self, path: &str, error: &anyhow::Error) {
        self.written.failures.push(format!("{path}: {error:#}"));
    }

    /// Writes the list of what is missing and closes the archive.
    ///
    /// # Errors
    /// If the archive cannot be written.
    pub(super) fn finish(mut self) -> Result<Done> {
        let mut summary = format!("{} files\n", self.written.files + 1);
        for failure in &self.written.failures {
            summary.push_str("missing: ");
            summary.push_str(&redact(failure));
            summary.push('\n');
        }
        self.add("summary.txt", summary.as_bytes())?;
        let gzip = self.tar.into_inner().context("finish the archive")?;
        gzip.finish().context("finish the archive")?.flush()?;
        Ok(self.written)
    }

    fn add(&mut self, path: &str, bytes: &[u8]) -> Result<()> {
        let mut header = Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0));
        self.tar
            .append_data(&mut header, format!("{ROOT}/{path}"), bytes)
            .with_context(|| format!("add {path} to the archive"))?;
        self.written.files += 1;
        Ok(())
    }
}

/// The last bytes of a text, from a line's beginning.
fn end_of(text: &str, largest: usize) -> &str {
    if text.len() <= largest {
        return text;
    }
    let mut start = text.len() - largest;
    while !text.is_char_boundary(start) {
        start += 1;
    }
    let cut = &text[start..];
    cut.split_once('\n').map_or(cut, |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::GzDecoder;
    use std::io::Read as _;

    #[test]
    fn what_is_written_can_be_read_and_is_bounded() {
        let mut bytes = Vec::new();
        let mut archive = Archive::new(&mut bytes, 100);
        archive.text("a.txt", "hello").unwrap();
        archive.text("large.txt", &"x".repeat(101)).unwrap();
        archive.failed("b.txt", &anyhow::anyhow!("refused"));
        let done = archive.finish().unwrap();
        assert_eq!(done.files, 2);
        assert_eq!(done.failures.len(), 2);
        let mut tar = tar::Archive::new(GzDecoder::new(&*bytes));
        let mut found = Vec::new();
        for entry in tar.entries().unwrap() {
            let mut entry = entry.unwrap();
            let path = entry.path().unwrap().display().to_string();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            found.push((path, text));
        }
        assert_eq!(found[0], ("ambit-bug-report/a.txt".into(), "hello".into()));
        assert_eq!(found[1].0, "ambit-bug-report/summary.txt");
        assert!(found[1].1.contains("missing: large.txt") && found[1].1.contains("b.txt: refused"));
    }

    #[test]
    fn of_a_long_text_the_end_is_kept() {
        assert_eq!(end_of("one\ntwo\nthree\n", 8), "three\n");
        assert_eq!(end_of("äöü", 3), "ü");
        assert_eq!(end_of("short", 10), "short");
    }
}
