//! Numbers of a run and their statistics. Pure.
//! In: one figure at a time. Out: medians, spread, and ratios between contenders of the same round.

use serde::Serialize;

use super::kinds::{Contender, Figure, Measure};

/// One number.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Point {
    /// Turn, from 1: a round, or one of the parts a round of this measure is cut into
    pub(crate) round: u32,
    /// Load
    pub(crate) measure: Measure,
    /// Way
    pub(crate) contender: Contender,
    /// What it is
    pub(crate) figure: Figure,
    /// In the unit of the figure
    pub(crate) value: f64,
}

/// A measurement that gave no number.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Failure {
    /// Round, from 1
    pub(crate) round: u32,
    /// Load
    pub(crate) measure: Measure,
    /// Way
    pub(crate) contender: Contender,
    /// What went wrong
    pub(crate) why: String,
}

/// All numbers of a run.
#[derive(Clone, Debug, Default)]
pub(crate) struct Results {
    /// In the order of measurement
    pub(crate) points: Vec<Point>,
    /// Likewise
    pub(crate) failures: Vec<Failure>,
}

/// Median and spread.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    /// Middle of the rounds
    pub(crate) median: f64,
    /// Lowest
    pub(crate) min: f64,
    /// Highest
    pub(crate) max: f64,
}

impl Spread {
    /// Of any number of values; none of none.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len().is_multiple_of(2) {
            f64::midpoint(values[middle - 1], values[middle])
        } else {
            values[middle]
        };
        Some(Self { median, min, max })
    }
}

impl Results {
    /// One contender's figure over all rounds.
    pub(crate) fn spread(
        &self,
        measure: Measure,
        contender: Contender,
        figure: Figure,
    ) -> Option<Spread> {
        let rounds = self.rounds(measure, contender, figure);
        Spread::of(rounds.map(|point| point.value).collect())
    }

    /// `of` divided by `by`, round by round: the machine is the same within a round, not between them.
    pub(crate) fn ratio(
        &self,
        measure: Measure,
        figure: Figure,
        of: Contender,
        by: Contender,
    ) -> Option<Spread> {
        let ratios = self.rounds(measure, of, figure).filter_map(|one| {
            let mut others = self.rounds(measure, by, figure);
            let other = others.find(|other| other.round == one.round)?;
            (other.value > 0.0).then(|| one.value / other.value)
        });
        Spread::of(ratios.collect())
    }

    fn rounds(
        &self,
        measure: Measure,
        contender: Contender,
        figure: Figure,
    ) -> impl Iterator<Item = &Point> {
        self.points.iter().filter(move |point| {
            point.measure == measure && point.contender == contender && point.figure == figure
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(round: u32, contender: Contender, value: f64) -> Point {
        Point {
            round,
            measure: Measure::Bulk1,
            contender,
            figure: Figure::Cpu,
            value,
        }
    }

    #[test]
    fn medians_are_of_the_middle_and_ratios_within_a_round() {
        assert_eq!(Spread::of(vec![]), None);
        let four = Spread::of(vec![4.0, 1.0, 2.0, 9.0]).unwrap();
        assert_eq!((four.median, four.min, four.max), (3.0, 1.0, 9.0));
        let results = Results {
            points: vec![
                point(1, Contender::Sealed, 1.0),
                point(1, Contender::Ambit, 2.0),
                point(2, Contender::Sealed, 10.0),
                point(2, Contender::Ambit, 20.0),
                point(3, Contender::Ambit, 7.0),
            ],
            failures: Vec::new(),
        };
        let ratio = |of, by| results.ratio(Measure::Bulk1, Figure::Cpu, of, by);
        let two = ratio(Contender::Ambit, Contender::Sealed).unwrap();
        assert_eq!((two.median, two.min, two.max), (2.0, 2.0, 2.0));
        assert_eq!(ratio(Contender::Ambit, Contender::Plain), None);
    }
}
