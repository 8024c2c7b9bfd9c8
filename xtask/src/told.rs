//! Runs tests and says at the end what failed, as a log is read from its end.
//! In: a cargo command. Out: its output as it comes, and on failure the reasons once more, without the pages
//! between them. Owns the command and the two threads that read from it.

use std::io::{self, Read, Write};
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};

use anyhow::{Context as _, Result, ensure};

/// Lines of one reason. What a test prints of its world may be much longer.
const REASON: usize = 12;
/// Reasons that are said again.
const REASONS: usize = 8;
/// Characters of a line of them.
const WIDTH: usize = 800;

/// Runs tests to their end. They print no stack traces: those of tasks name no function of ours, and are longer
/// than all the rest.
///
/// # Errors
/// If it cannot start, or if a test failed: what the tests said of it.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let mut child = command
        .env("RUST_BACKTRACE", "0")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {:?}", command.get_program()))?;
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let failures = Mutex::new(Failures::default());
    let status = std::thread::scope(|scope| {
        scope.spawn(|| pass(stdout, io::stdout(), &failures));
        scope.spawn(|| pass(stderr, io::stderr(), &failures));
        child.wait()
    });
    let status = status.context("wait for cargo")?;
    let failures = failures.into_inner();
    let said = failures.unwrap_or_else(PoisonError::into_inner).said();
    ensure!(status.success(), "cargo test failed: {status}\n{said}");
    Ok(())
}

/// What comes goes on at once; whole lines are looked at.
fn pass(from: Option<impl Read>, mut to: impl Write, failures: &Mutex<Failures>) {
    let Some(mut from) = from else { return };
    let mut reader = Reader::default();
    let mut buffer = [0; 4096];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        // A closed terminal does not end the tests.
        let _ = to.write_all(&buffer[..count]).and_then(|()| to.flush());
        for line in reader.lines(&buffer[..count]) {
            let mut failures = failures.lock().unwrap_or_else(PoisonError::into_inner);
            reader.open = failures.look(&line, reader.open);
        }
    }
}

/// One stream.
#[derive(Default)]
struct Reader {
    part: Vec<u8>,
    /// Lines that the reason which was begun here may still have
    open: usize,
}

impl Reader {
    fn lines(&mut self, bytes: &[u8]) -> Vec<String> {
        self.part.extend(bytes);
        let Some(end) = self.part.iter().rposition(|byte| *byte == b'\n') else {
            return Vec::new();
        };
        let rest = self.part.split_off(end + 1);
        let whole = std::mem::replace(&mut self.part, rest);
        let text = String::from_utf8_lossy(&whole);
        text.lines().map(str::to_owned).collect()
    }
}

/// What is worth to be said again.
#[derive(Debug, Default)]
struct Failures {
    tests: Vec<String>,
    reasons: Vec<Vec<String>>,
}

impl Failures {
    /// Looks at one line of a stream in whose reason `open` lines are left; says how many are left then.
    fn look(&mut self, line: &str, open: usize) -> usize {
        let begins = line.contains("panicked at ") || line.starts_with("Error: ");
        if begins {
            self.reasons.push(vec![cut(line)]);
            return REASON - 1;
        }
        let failed = line
            .strip_prefix("test ")
            .and_then(|rest| rest.strip_suffix(" ... FAILED"));
        if let Some(test) = failed {
            self.tests.push(test.to_owned());
        }
        let ends = ["note: ", "---- ", "test ", "failures:", "── "];
        if open == 0 || ends.iter().any(|end| line.starts_with(end)) {
            return 0;
        }
        if line.trim().is_empty() {
            return open;
        }
        if let Some(reason) = self.reasons.last_mut() {
            reason.push(cut(line));
        }
        open - 1
    }

    /// All of it, or nothing if no test said why.
    fn said(self) -> String {
        let mut said = String::new();
        let more = self.reasons.len().saturating_sub(REASONS);
        for reason in self.reasons.into_iter().take(REASONS) {
            said.push_str(&reason.join("\n"));
            said.push_str("\n\n");
        }
        if more > 0 {
            said.push_str(&format!("and {more} more\n\n"));
        }
        said.push_str(&self.tests.join("\n"));
        said
    }
}

fn cut(line: &str) -> String {
    line.chars().take(WIDTH).collect()
}

#[cfg(test)]
mod tests {
    use super::{Failures, Reader};

    const OUTPUT: &str = "\
running 2 tests
test whole ... ok
test broken ... FAILED

failures:

---- broken stdout ----
many lines of a log

thread 'broken' (7) panicked at tests/a.rs:4:5:
assertion `left == right` failed: all of them
  left: 49
 right: 50
note: run with `RUST_BACKTRACE=1` environment variable to display a backtrace

failures:
    broken
";

    fn said(output: &str) -> String {
        let (mut reader, mut failures) = (Reader::default(), Failures::default());
        // As it comes from a pipe: in pieces that end anywhere.
        for piece in output.as_bytes().chunks(7) {
            for line in reader.lines(piece) {
                reader.open = failures.look(&line, reader.open);
            }
        }
        failures.said()
    }

    #[test]
    fn the_reason_and_the_name_of_a_failed_test_are_said_again() {
        let expected = "thread 'broken' (7) panicked at tests/a.rs:4:5:\n\
            assertion `left == right` failed: all of them\n  left: 49\n right: 50\n\nbroken";
        assert_eq!(said(OUTPUT), expected);
    }

    #[test]
    fn causes_of_an_error_are_part_of_its_reason() {
        let output =
            "Error: a step\n\nCaused by:\n    0: the last answer\n── kubectl get pods ──\na pod\n";
        assert_eq!(
            said(output),
            "Error: a step\nCaused by:\n    0: the last answer\n\n"
        );
    }
}
