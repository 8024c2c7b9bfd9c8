//! New connections: connect, one request, closed by the server.
//! In: how many at a time, how long. Out: connections made and ended in order.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::Summary;
use super::requests::{joined, on_one_thread};
use super::stream::Polled;

/// Connects until the time is over.
///
/// # Errors
/// Any connection's.
pub(crate) fn run(to: SocketAddr, workers: usize, time: Duration) -> anyhow::Result<Summary> {
    on_one_thread(time, async {
        let start = Instant::now();
        let mut tasks = JoinSet::new();
        for _ in 0..workers {
            tasks.spawn_local(connect(to, start + time));
        }
        let mut summary = joined(tasks).await?;
        summary.seconds = start.elapsed().as_secs_f64();
        Ok(summary)
    })
}

async fn connect(to: SocketAddr, until: Instant) -> anyhow::Result<Summary> {
    let mut summary = Summary::default();
    while Instant::now() < until || summary.requests == 0 {
        let answer = Polled::connect(to).await?.ask_and_close().await?;
        summary.connection(answer);
        summary.requests += 1;
    }
    Ok(summary)
}
