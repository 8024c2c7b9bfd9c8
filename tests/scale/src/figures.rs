//! Durations and what they come to. Pure, but for the printing of lines.

use std::time::Duration;

/// Durations of one kind.
#[derive(Debug, Default)]
pub(crate) struct Durations(Vec<Duration>);

impl Durations {
    /// Adds one.
    pub(crate) fn add(&mut self, one: Duration) {
        let place = self.0.partition_point(|known| *known <= one);
        self.0.insert(place, one);
    }

    /// How many.
    pub(crate) fn count(&self) -> usize {
        self.0.len()
    }

    /// The smallest that `share` of a hundred do not exceed; zero without any.
    pub(crate) fn percentile(&self, share: usize) -> Duration {
        let rank = (self.0.len() * share).div_ceil(100);
        self.0
            .get(rank.saturating_sub(1))
            .copied()
            .unwrap_or_default()
    }
}

/// Milliseconds with one decimal.
pub(crate) fn ms(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}

/// Bytes as MiB.
pub(crate) fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

/// Says a line.
pub(crate) fn say(line: &str) {
    use std::io::Write as _;
    // Nobody is told if nobody can be.
    let _ = writeln!(std::io::stdout(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_durations_that_were_measured() {
        let mut all = Durations::default();
        assert_eq!(all.percentile(99), Duration::ZERO);
        for n in (1..=100).rev() {
            all.add(Duration::from_millis(n));
        }
        for (share, expected) in [(50, 50), (99, 99), (100, 100)] {
            assert_eq!(all.percentile(share), Duration::from_millis(expected));
        }
        let mut few = Durations::default();
        few.add(Duration::from_millis(3));
        assert_eq!(few.percentile(99), Duration::from_millis(3));
    }
}
