//! The comparison.
//! In: options. Out: a table and JSON of medians with their spread, gates judged on ratios within rounds.
//! Order: a lab, first requests with a look at the link (who is encrypted, who is not), idle memory, then
//! rounds; in a round every contender of a measure comes right after the other, and who comes first changes
//! with the round, so that a machine that slows down slows all of them.
//! Owns: the lab, which goes on every way out.

mod agree;
mod cost;
mod gates;
mod idle;
mod kinds;
mod report;
mod results;
mod rounds;
mod sample;
mod stage;
mod wire;
mod yaml;

use std::path::PathBuf;
use std::time::Duration;

use ambit_harness::Lab;
use anyhow::{Context, bail};
use tokio::signal::unix::{SignalKind, signal};

use kinds::{Contender, Measure};
use results::Results;
use stage::Stage;

/// Options of a run.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Rounds; each measures every contender once
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Seconds of each measurement
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// A first look in less than a minute: one round of half a second each
    #[arg(long)]
    quick: bool,
    /// Only these measures
    #[arg(long, value_enum, value_delimiter = ',')]
    only: Vec<Measure>,
    /// Only these contenders
    #[arg(long, value_enum, value_delimiter = ',')]
    contenders: Vec<Contender>,
    /// Write everything that was measured to this file
    #[arg(long)]
    json: Option<PathBuf>,
    /// Fail when a gate is missed
    #[arg(long)]
    gate: bool,
    /// Name of the lab
    #[arg(long, default_value = "bench")]
    name: String,
}

/// What a run does, all options decided.
pub(crate) struct Settings {
    rounds: u32,
    time: Duration,
    measures: Vec<Measure>,
    contenders: Vec<Contender>,
    /// Idle connections of each of [`idle::STEPS`]
    idle: usize,
}

impl Args {
    fn settings(&self) -> anyhow::Result<Settings> {
        let chosen = |all: &[Measure]| -> Vec<Measure> {
            let wanted = |m: &&Measure| self.only.is_empty() || self.only.contains(m);
            all.iter().filter(wanted).copied().collect()
        };
        if !(0.1..=600.0).contains(&self.seconds) || self.rounds == 0 {
            bail!("at least one round of 0.1 to 600 seconds");
        }
        let wanted = |c: &&Contender| self.contenders.is_empty() || self.contenders.contains(c);
        Ok(Settings {
            rounds: if self.quick { 1 } else { self.rounds },
            time: Duration::from_secs_f64(if self.quick { 0.5 } else { self.seconds }),
            measures: chosen(&Measure::ALL),
            contenders: Contender::ALL.iter().filter(wanted).copied().collect(),
            idle: if self.quick { 100 } else { 400 },
        })
    }
}

/// Runs the comparison.
///
/// # Errors
/// A lab that does not come up, a measurement that went wrong, and with `--gate` a missed gate.
pub(crate) fn run(args: Args) -> anyhow::Result<()> {
    let settings = args.settings()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("runtime")?;
    let results = runtime.block_on(async {
        let mut term = signal(SignalKind::terminate())?;
        tokio::select! {
            results = Box::pin(measured(&args, &settings)) => results,
            _ = term.recv() => bail!("interrupted"),
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        }
    })?;
    conclude(&args, &settings, &results)
}

async fn measured(args: &Args, settings: &Settings) -> anyhow::Result<Results> {
    let mesh = settings.contenders.contains(&Contender::Ambit);
    let mut builder = Lab::builder(&args.name).nodes(2).progress(say);
    if !mesh {
        builder = builder.without_mesh();
    }
    let lab = builder.up().await?;
    let stage = Stage::set(lab, settings).await?;
    let mut results = Results::default();
    rounds::all(&stage, settings, &mut results).await?;
    stage.clear().await;
    Ok(results)
}

fn conclude(args: &Args, settings: &Settings, results: &Results) -> anyhow::Result<()> {
    let verdicts = gates::judge(results);
    say(&report::text(settings, results, &verdicts));
    if let Some(path) = &args.json {
        let json = report::json(settings, results, &verdicts)?;
        std::fs::write(path, json).with_context(|| path.display().to_string())?;
    }
    if !results.failures.is_empty() {
        bail!("{} measurements went wrong", results.failures.len());
    }
    let missed = verdicts.iter().filter(|verdict| !verdict.held).count();
    if args.gate && missed > 0 {
        bail!("{missed} gates missed");
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "progress and result of a command")]
fn say(line: &str) {
    println!("{line}");
}
