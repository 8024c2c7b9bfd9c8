//! The rounds.
//! In: the stage, settings. Out: results, a line of progress per measure.
//! A measurement that goes wrong is recorded and the run goes on.

use super::kinds::{Contender, Figure, Measure};
use super::results::{Failure, Point, Results};
use super::stage::Stage;
use super::{Settings, report, sample, say, wire};

/// Runs all of them.
///
/// # Errors
/// A way that is not what it should be: nothing it would measure means anything.
pub(crate) async fn all(
    stage: &Stage,
    settings: &Settings,
    results: &mut Results,
) -> anyhow::Result<()> {
    for contender in &settings.contenders {
        if stage.way(*contender).is_some() {
            let first = wire::look(stage, *contender).await;
            first.map_err(|error| error.context(format!("{contender}: first requests")))?;
        }
    }
    let mut once = settings.measures.clone();
    once.retain(|measure| *measure == Measure::Idle);
    round(stage, settings, (1, &once), results).await;
    let mut each = settings.measures.clone();
    each.retain(|measure| *measure != Measure::Idle);
    for number in 1..=settings.rounds {
        round(stage, settings, (number, &each), results).await;
    }
    Ok(())
}

async fn round(
    stage: &Stage,
    settings: &Settings,
    (number, measures): (u32, &[Measure]),
    results: &mut Results,
) {
    for measure in measures {
        let mut contenders: Vec<Contender> = measure.contenders().to_vec();
        contenders.retain(|contender| settings.contenders.contains(contender));
        if contenders.is_empty() {
            continue;
        }
        // Who comes first changes from round to round.
        let first = number as usize % contenders.len();
        contenders.rotate_left(first);
        let parts = measure.parts();
        let mut shown = Vec::new();
        for part in 0..parts {
            let turn = (number - 1) * parts + part + 1;
            contenders.rotate_left(1);
            for contender in &contenders {
                let time = settings.time / parts;
                let taken = sample::take(stage, *measure, *contender, time, settings.idle).await;
                shown.push(format!("{contender} {}", brief(*measure, &taken)));
                record(results, (turn, *measure, *contender), taken);
            }
        }
        if parts > 1 {
            shown = so_far(results, *measure, &contenders);
        }
        shown.sort();
        say(&format!("round {number}: {measure}: {}", shown.join(", ")));
    }
}

fn so_far(results: &Results, measure: Measure, contenders: &[Contender]) -> Vec<String> {
    let median = |contender: &Contender| {
        let spread = results.spread(measure, *contender, Figure::Rate)?;
        Some(format!("{contender} {}", report::number(spread.median)))
    };
    contenders.iter().filter_map(median).collect()
}

fn record(
    results: &mut Results,
    (round, measure, contender): (u32, Measure, Contender),
    taken: anyhow::Result<sample::Figures>,
) {
    match taken {
        Ok(figures) => {
            let points = figures.into_iter().map(|(figure, value)| Point {
                round,
                measure,
                contender,
                figure,
                value,
            });
            results.points.extend(points);
        }
        Err(error) => results.failures.push(Failure {
            round,
            measure,
            contender,
            why: format!("{error:#}"),
        }),
    }
}

fn brief(measure: Measure, taken: &anyhow::Result<sample::Figures>) -> String {
    match taken {
        Err(error) => format!("FAILED ({error:#})"),
        Ok(figures) => {
            let shown = figures.iter().filter(|(figure, _)| match measure {
                Measure::Paced => *figure == Figure::P50,
                Measure::Idle => *figure == Figure::Memory,
                _ => matches!(figure, Figure::Rate | Figure::Cpu),
            });
            let words = shown.map(|(_, value)| report::number(*value));
            words.collect::<Vec<_>>().join(" / ")
        }
    }
}
