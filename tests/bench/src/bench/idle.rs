//! Memory of idle connections.
//! In: a way. Out: by how much the proxies grow for each connection that is open and was used once.
//! A dialogue with the load generator: it opens some, we look, it opens more.

use std::time::Duration;

use ambit_harness::process::Process;
use anyhow::{Context, ensure};
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::process::ChildStdout;

use super::agree;
use super::kinds::{Figure, Measure};
use super::sample::Figures;
use super::stage::{Stage, Way, port};
use crate::load::{HeldLine, Summary};

/// How often connections are opened.
pub(crate) const STEPS: usize = 3;
/// Longest wait for one step.
const STEP: Duration = Duration::from_secs(30);

/// Measures with `count` connections per step.
///
/// # Errors
/// A connection that did not open or stay.
pub(crate) async fn take(stage: &Stage, way: &Way, count: usize) -> anyhow::Result<Figures> {
    stage.take(way).await?;
    let start = way.proxies.settled().await?;
    let (number, steps) = (count.to_string(), STEPS.to_string());
    let words = ["hold", "--count", &number, "--steps", &steps].map(str::to_owned);
    let mut process = stage.start(way, Measure::Idle, &words).await?;
    let grown = dialogue(&mut process, way, start).await;
    let (per_connection, summary) = match grown {
        Ok(grown) => grown,
        Err(error) => {
            process.kill().await;
            let mut words = String::new();
            if let Some(mut stderr) = process.child.stderr.take() {
                stderr.read_to_string(&mut words).await?;
            }
            return Err(error.context(words.trim().to_owned()));
        }
    };
    let counts = stage.take(way).await?;
    agree::check(&way.expected, port(Measure::Idle), &summary, &counts)?;
    Ok(vec![
        (Figure::Memory, per_connection),
        (Figure::Start, kib(start) / 1024.0),
    ])
}

async fn dialogue(process: &mut Process, way: &Way, start: u64) -> anyhow::Result<(f64, Summary)> {
    let stdout = process.child.stdout.take().context("no output")?;
    let mut stdin = process.child.stdin.take().context("no input")?;
    let mut lines = BufReader::new(stdout).lines();
    let mut per_connection = 0.0;
    for _ in 0..STEPS {
        let line: HeldLine = next(&mut lines).await?;
        let grown = way.proxies.settled().await?.saturating_sub(start);
        per_connection = kib(grown) / kib(line.held.max(1));
        stdin.write_all(b"\n").await?;
    }
    let summary = next(&mut lines).await?;
    ensure!(process.wait().await?.success(), "the load failed");
    Ok((per_connection, summary))
}

async fn next<T: DeserializeOwned>(lines: &mut Lines<BufReader<ChildStdout>>) -> anyhow::Result<T> {
    let line = tokio::time::timeout(STEP, lines.next_line()).await;
    let line = line.context("no next step")??.context("the load ended")?;
    Ok(serde_json::from_str(&line)?)
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
fn kib(n: u64) -> f64 {
    n as f64
}
