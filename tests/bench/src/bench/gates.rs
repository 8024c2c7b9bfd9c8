//! The gates. Pure.
//! In: results. Out: for each gate what was measured and whether it holds; a figure that is missing because
//! it was not asked for is no verdict.

use serde::Serialize;

use super::kinds::{Contender, Figure, Measure};
use super::results::{Results, Spread};

/// One limit on a ratio.
struct Gate {
    measure: Measure,
    figure: Figure,
    of: Contender,
    by: Contender,
    limit: Limit,
}

/// Which way a ratio may not go.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Limit {
    /// No more than this
    AtMost(f64),
    /// No less
    AtLeast(f64),
}

/// A gate and what was measured.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Verdict {
    /// In words
    pub(crate) gate: String,
    /// The limit
    pub(crate) limit: Limit,
    /// Ratio: its median counts
    pub(crate) ratio: Spread,
    /// Whether it holds
    pub(crate) held: bool,
}

const GATES: [Gate; 6] = [
    cost(Measure::Bulk1, 2.0),
    cost(Measure::Bulk4, 2.4),
    cost(Measure::Requests, 2.5),
    cost(Measure::Connect, 2.5),
    hop(Measure::HopConnect),
    hop(Measure::HopRoundTrip),
];

const fn cost(measure: Measure, limit: f64) -> Gate {
    Gate {
        measure,
        figure: Figure::Cpu,
        of: Contender::Ambit,
        by: match measure {
            Measure::Bulk1 | Measure::Bulk4 => Contender::Sealed,
            _ => Contender::Plain,
        },
        limit: Limit::AtMost(limit),
    }
}

const fn hop(measure: Measure) -> Gate {
    Gate {
        measure,
        figure: Figure::Rate,
        of: Contender::Captured,
        by: Contender::Loopback,
        limit: Limit::AtLeast(0.9),
    }
}

/// Judges all gates that were measured.
pub(crate) fn judge(results: &Results) -> Vec<Verdict> {
    GATES
        .iter()
        .filter_map(|gate| {
            let ratio = results.ratio(gate.measure, gate.figure, gate.of, gate.by)?;
            let held = match gate.limit {
                Limit::AtMost(limit) => ratio.median <= limit,
                Limit::AtLeast(limit) => ratio.median >= limit,
            };
            Some(Verdict {
                gate: format!(
                    "{}: {} of {} to {}",
                    gate.measure,
                    gate.figure.unit(gate.measure),
                    gate.of,
                    gate.by
                ),
                limit: gate.limit,
                ratio,
                held,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::results::Point;

    #[test]
    fn a_gate_is_judged_on_the_median_ratio_and_only_if_measured() {
        let point = |round, contender, value| Point {
            round,
            measure: Measure::Bulk1,
            contender,
            figure: Figure::Cpu,
            value,
        };
        let mut results = Results::default();
        assert!(judge(&results).is_empty());
        for (round, ambit) in [(1, 1.5), (2, 1.9), (3, 9.0)] {
            results.points.push(point(round, Contender::Sealed, 1.0));
            results.points.push(point(round, Contender::Ambit, ambit));
        }
        let verdicts = judge(&results);
        assert_eq!(verdicts.len(), 1);
        assert!(verdicts[0].held);
        results.points.push(point(4, Contender::Sealed, 1.0));
        results.points.push(point(4, Contender::Ambit, 2.5));
        assert!(!judge(&results)[0].held);
    }
}
