//! What the user sees. Pure.
//! In: results and verdicts. Out: a table, or JSON with every number that went into it.

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;

use super::Settings;
use super::gates::{Limit, Verdict};
use super::kinds::{Contender, Figure, Measure};
use super::results::{Failure, Point, Results, Spread};

/// The whole comparison as text.
pub(crate) fn text(settings: &Settings, results: &Results, verdicts: &[Verdict]) -> String {
    let mut parts = vec![format!(
        "\n{} rounds of {} s; median (lowest–highest); CPU is user + system of both proxies; \
         factors are medians of the rounds' own ratios",
        settings.rounds,
        settings.time.as_secs_f64(),
    )];
    for columns in [&Contender::ALL[..4], &Contender::ALL[4..]] {
        let measured = |c: &&Contender| results.points.iter().any(|p| p.contender == **c);
        let columns: Vec<Contender> = columns.iter().filter(measured).copied().collect();
        if !columns.is_empty() {
            parts.push(table(results, &columns).to_string());
        }
    }
    if !verdicts.is_empty() {
        parts.push(gates(verdicts).to_string());
    }
    for failure in &results.failures {
        parts.push(format!(
            "went wrong: round {}, {}, {}: {}",
            failure.round, failure.measure, failure.contender, failure.why
        ));
    }
    parts.join("\n")
}

fn table(results: &Results, columns: &[Contender]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY);
    let titles = columns.iter().map(|column| column.title());
    let last = columns.last().map_or("", |column| column.title());
    table.set_header(
        ["", ""]
            .into_iter()
            .map(str::to_owned)
            .chain(titles.map(str::to_owned))
            .chain([format!("{last} to floor")]),
    );
    for measure in Measure::ALL {
        for figure in Figure::ALL {
            let row = row(results, columns, measure, figure);
            table.add_rows(row);
        }
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}

fn row(
    results: &Results,
    columns: &[Contender],
    measure: Measure,
    figure: Figure,
) -> Option<Vec<String>> {
    let spreads: Vec<Option<Spread>> = columns
        .iter()
        .map(|column| results.spread(measure, *column, figure))
        .collect();
    if spreads.iter().all(Option::is_none) {
        return None;
    }
    let ours = columns.last().copied()?;
    let ratio = results.ratio(measure, figure, ours, measure.floor());
    let mut cells = vec![measure.to_string(), figure.unit(measure).to_owned()];
    cells.extend(
        spreads
            .into_iter()
            .map(|spread| spread.map_or("–".to_owned(), show)),
    );
    cells.push(match ratio {
        Some(ratio) if ours != measure.floor() => {
            format!("{:.2}x ({:.2}–{:.2})", ratio.median, ratio.min, ratio.max)
        }
        _ => String::new(),
    });
    Some(cells)
}

fn gates(verdicts: &[Verdict]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY);
    table.set_header(["gate", "limit", "measured", ""]);
    for verdict in verdicts {
        let limit = match verdict.limit {
            Limit::AtMost(limit) => format!("≤ {limit}x"),
            Limit::AtLeast(limit) => format!("≥ {limit}x"),
        };
        let Spread { median, min, max } = verdict.ratio;
        table.add_row([
            verdict.gate.clone(),
            limit,
            format!("{median:.2}x ({min:.2}–{max:.2})"),
            if verdict.held { "held" } else { "MISSED" }.to_owned(),
        ]);
    }
    table
}

fn show(spread: Spread) -> String {
    if (spread.max - spread.min).abs() < f64::EPSILON {
        return number(spread.median);
    }
    format!(
        "{} ({}–{})",
        number(spread.median),
        number(spread.min),
        number(spread.max)
    )
}

/// Three figures, thousands as `k`.
pub(crate) fn number(value: f64) -> String {
    match value {
        v if v >= 9_999.5 => format!("{:.1}k", v / 1e3),
        v if v >= 99.95 => format!("{v:.0}"),
        v if v >= 9.995 => format!("{v:.1}"),
        v if v >= 0.9995 => format!("{v:.2}"),
        v => format!("{v:.4}"),
    }
}

#[derive(Serialize)]
struct Document<'a> {
    machine: Machine,
    rounds: u32,
    seconds: f64,
    summary: Vec<Line>,
    gates: &'a [Verdict],
    points: &'a [Point],
    failures: &'a [Failure],
}

#[derive(Serialize)]
struct Machine {
    kernel: String,
    cpus: usize,
}

#[derive(Serialize)]
struct Line {
    measure: Measure,
    contender: Contender,
    figure: Figure,
    unit: &'static str,
    #[serde(flatten)]
    spread: Spread,
}

/// The whole comparison as JSON.
///
/// # Errors
/// A number that is none.
pub(crate) fn json(
    settings: &Settings,
    results: &Results,
    verdicts: &[Verdict],
) -> anyhow::Result<String> {
    let mut summary = Vec::new();
    for measure in Measure::ALL {
        for contender in Contender::ALL {
            for figure in Figure::ALL {
                if let Some(spread) = results.spread(measure, contender, figure) {
                    summary.push(Line {
                        measure,
                        contender,
                        figure,
                        unit: figure.unit(measure),
                        spread,
                    });
                }
            }
        }
    }
    let document = Document {
        machine: Machine {
            kernel: nix::sys::utsname::uname()?
                .release()
                .to_string_lossy()
                .into_owned(),
            cpus: std::thread::available_parallelism()?.get(),
        },
        rounds: settings.rounds,
        seconds: settings.time.as_secs_f64(),
        summary,
        gates: verdicts,
        points: &results.points,
        failures: &results.failures,
    };
    Ok(serde_json::to_string_pretty(&document)? + "\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_figures() {
        for (value, shown) in [
            (12_345.0, "12.3k"),
            (999.6, "1000"),
            (56.78, "56.8"),
            (5.678, "5.68"),
            (0.12345, "0.1235"),
        ] {
            assert_eq!(number(value), shown);
        }
    }
}
