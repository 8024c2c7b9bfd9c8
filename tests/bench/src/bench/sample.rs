//! One measurement of one contender.
//! In: the stage. Out: its figures, after client and server have been found to agree.

use std::time::Duration;

use anyhow::Context;

use super::kinds::{CONNECTING, Contender, Figure, KEEP_ALIVE, Measure, RATE};
use super::stage::{Stage, Way, port};
use super::{agree, idle};
use crate::hop::client::Kind;
use crate::load::Summary;

/// Figures and their values.
pub(crate) type Figures = Vec<(Figure, f64)>;

/// Measures.
///
/// # Errors
/// Load that failed, or accounts that contradict each other.
pub(crate) async fn take(
    stage: &Stage,
    measure: Measure,
    contender: Contender,
    time: Duration,
    held: usize,
) -> anyhow::Result<Figures> {
    let hop = match measure {
        Measure::HopConnect => Some(Kind::Connect),
        Measure::HopRoundTrip => Some(Kind::RoundTrip),
        _ => None,
    };
    if let Some(kind) = hop {
        let hop = stage.hop.as_ref().context("no hop on this stage")?;
        let captured = contender == Contender::Captured;
        let rate = hop.measure(&stage.lab, captured, kind, time).await?;
        return Ok(vec![(Figure::Rate, rate)]);
    }
    let way = stage.way(contender).context("no way on this stage")?;
    if measure == Measure::Idle {
        return idle::take(stage, way, held).await;
    }
    loaded(stage, way, measure, time).await
}

async fn loaded(
    stage: &Stage,
    way: &Way,
    measure: Measure,
    time: Duration,
) -> anyhow::Result<Figures> {
    // What a failed measurement before this one left.
    stage.take(way).await?;
    let before = way.proxies.cpu()?;
    let summary = stage.load(way, measure, &words(measure, time)).await?;
    let used = way.proxies.cpu()?.saturating_sub(before);
    let counts = stage.take(way).await?;
    agree::check(&way.expected, port(measure), &summary, &counts)?;
    let mut figures = vec![(Figure::Rate, rate(measure, &summary))];
    if !way.proxies.0.is_empty() {
        figures.push((Figure::Cpu, used.as_secs_f64() / work(measure, &summary)));
    }
    if let Some(latency) = summary.latency {
        figures.extend([
            (Figure::P50, latency.p50),
            (Figure::P99, latency.p99),
            (Figure::P999, latency.p999),
        ]);
    }
    Ok(figures)
}

fn words(measure: Measure, time: Duration) -> Vec<String> {
    let (kind, option, number) = match measure {
        Measure::Bulk1 => ("bulk", "--streams", 1),
        Measure::Bulk4 => ("bulk", "--streams", 4),
        Measure::Paced => ("paced", "--rate", RATE as usize),
        Measure::Connect => ("connect", "--workers", CONNECTING),
        _ => ("requests", "--connections", KEEP_ALIVE),
    };
    let seconds = time.as_secs_f64().to_string();
    ["--seconds", &seconds, kind, option, &number.to_string()]
        .map(str::to_owned)
        .into()
}

/// Work per second, in the measure's unit.
fn rate(measure: Measure, summary: &Summary) -> f64 {
    let per_second = |n: u64| count(n) / summary.seconds;
    match measure {
        Measure::Bulk1 | Measure::Bulk4 => per_second(summary.bytes) * 8.0 / 1e9,
        Measure::Connect => per_second(summary.connections),
        _ => per_second(summary.requests),
    }
}

/// How much was done, in the units that cost is given for.
fn work(measure: Measure, summary: &Summary) -> f64 {
    match measure {
        Measure::Bulk1 | Measure::Bulk4 => count(summary.bytes) / 1e9,
        Measure::Connect => count(summary.connections) / 1e3,
        _ => count(summary.requests) / 1e3,
    }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn count(n: u64) -> f64 {
    n as f64
}
