//! Closed loop: every connection asks again as soon as it is answered.
//! In: how many connections, how long. Out: requests answered.
//! One thread for all of them, so that the generator leaves the processors to what is measured.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::stream::Polled;
use super::{PATIENCE, Summary};

/// Asks until the time is over.
///
/// # Errors
/// Any connection's.
pub(crate) fn run(to: SocketAddr, connections: usize, time: Duration) -> anyhow::Result<Summary> {
    on_one_thread(time, async {
        let start = Instant::now();
        let mut tasks = JoinSet::new();
        for _ in 0..connections {
            tasks.spawn_local(ask(to, start + time));
        }
        let mut summary = joined(tasks).await?;
        summary.seconds = start.elapsed().as_secs_f64();
        Ok(summary)
    })
}

async fn ask(to: SocketAddr, until: Instant) -> anyhow::Result<Summary> {
    let mut stream = Polled::connect(to).await?;
    let mut summary = Summary::default();
    while Instant::now() < until || summary.requests == 0 {
        stream.ask().await?;
        summary.requests += 1;
    }
    summary.connection(stream.answer()?);
    Ok(summary)
}

/// Runs local tasks on this thread, at most for `time` and the patience after it.
pub(super) fn on_one_thread<T>(
    time: Duration,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        match tokio::time::timeout(time + PATIENCE, work).await {
            Ok(done) => done,
            Err(_) => anyhow::bail!("a request was not answered within {PATIENCE:?}"),
        }
    })
}

/// Waits for all tasks and adds up what they did.
pub(super) async fn joined(mut tasks: JoinSet<anyhow::Result<Summary>>) -> anyhow::Result<Summary> {
    let mut summary = Summary::default();
    while let Some(done) = tasks.join_next().await {
        summary = summary.join(done??);
    }
    Ok(summary)
}
