//! What the demo prints, and whether all of it held.
//! In: steps and checks. Out: lines on a writer, as they happen.

use std::fmt::Display;
use std::io::Write;

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What
    pub what: String,
    /// What there was
    pub seen: String,
    /// What there should be
    pub expected: String,
    /// Whether the two agree
    pub held: bool,
}

impl Check {
    /// A check with its verdict.
    pub fn new(what: &str, seen: impl Display, expected: impl Display, held: bool) -> Self {
        Self {
            what: what.to_owned(),
            seen: seen.to_string(),
            expected: expected.to_string(),
            held,
        }
    }
}

/// Prints checks and remembers the ones that did not hold.
pub struct Report {
    out: Box<dyn Write + Send>,
    step: String,
    checks: usize,
    failed: Vec<String>,
}

impl Report {
    /// Prints to `out`.
    pub fn new(out: Box<dyn Write + Send>) -> Self {
        Self {
            out,
            step: String::new(),
            checks: 0,
            failed: Vec::new(),
        }
    }

    /// Begins a step.
    pub fn step(&mut self, title: &str) {
        title.clone_into(&mut self.step);
        self.line(&format!("\nStep {title}"));
    }

    /// Says what is being done now.
    pub fn note(&mut self, text: &str) {
        self.line(&format!("     {text}"));
    }

    /// Prints a check.
    pub fn check(&mut self, check: Check) {
        self.checks += 1;
        let verdict = if check.held { " ok " } else { "FAIL" };
        self.line(&format!("{verdict} {}", check.what));
        self.line(&format!("       seen      {}", check.seen));
        self.line(&format!("       expected  {}", check.expected));
        if !check.held {
            self.failed.push(format!("{}: {}", self.step, check.what));
        }
    }

    /// Ends a step; an error is what kept it from going on.
    pub fn end(&mut self, step: anyhow::Result<()>) {
        if let Err(error) = step {
            self.checks += 1;
            self.line(&format!("FAIL the step could not go on: {error:#}"));
            self.failed.push(format!("{}: could not go on", self.step));
        }
    }

    /// Checks so far.
    pub fn checks(&self) -> usize {
        self.checks
    }

    /// Those that did not hold, by step.
    pub fn failed(&self) -> &[String] {
        &self.failed
    }

    fn line(&mut self, text: &str) {
        // A closed terminal must not stop the demo from cleaning up.
        let _ = writeln!(self.out, "{text}");
        let _ = self.out.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_that_did_not_hold_and_a_step_that_broke_off_are_remembered() {
        let mut report = Report::new(Box::new(std::io::sink()));
        report.step("0");
        report.check(Check::new("a", 1, 1, true));
        report.check(Check::new("b", 1, 2, false));
        report.end(Ok(()));
        report.step("1");
        report.end(Err(anyhow::anyhow!("no")));
        assert_eq!(report.checks(), 3);
        assert_eq!(report.failed(), ["0: b", "1: could not go on"]);
    }
}
