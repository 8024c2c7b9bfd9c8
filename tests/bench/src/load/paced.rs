//! Open loop: requests are due at fixed times, and latency counts from then on.
//! In: a rate. Out: percentiles. A request that waits for an earlier one's answer has its waiting counted,
//! so a stall is seen by every request it delays, not by one (no coordinated omission).
//! One thread per connection: the scheduler's high-resolution timers wake it, not a runtime's wheel.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Context;
use hdrhistogram::Histogram;

use super::stream::Blocking;
use super::{Latency, Summary};

/// Connections that share the rate.
const CONNECTIONS: u32 = 16;
/// Significant figures of a histogram.
const FIGURES: u8 = 3;

/// Sends until the time is over.
///
/// # Errors
/// Any connection's.
pub(crate) fn run(to: SocketAddr, rate: u32, time: Duration) -> anyhow::Result<Summary> {
    let mut streams = Vec::new();
    let mut summary = Summary::default();
    for _ in 0..CONNECTIONS {
        let mut stream = Blocking::connect(to)?;
        summary.connection(stream.answer()?);
        summary.requests += 1;
        streams.push(stream);
    }
    let start = Instant::now();
    let apart = Duration::from_secs(1) / rate.max(1);
    let done = std::thread::scope(|scope| {
        let threads: Vec<_> = streams
            .into_iter()
            .zip(0_u32..)
            .map(|(stream, index)| {
                let first = start + apart * index;
                scope.spawn(move || ask(stream, first, apart * CONNECTIONS, start + time))
            })
            .collect();
        let joined = threads.into_iter().map(|thread| {
            let stream = thread.join();
            stream.unwrap_or_else(|_| Err(anyhow::anyhow!("a connection's thread panicked")))
        });
        joined.collect::<anyhow::Result<Vec<Histogram<u64>>>>()
    })?;
    summary.seconds = start.elapsed().as_secs_f64();
    let mut all = Histogram::<u64>::new(FIGURES)?;
    for one in done {
        all.add(one)?;
    }
    summary.requests += all.len();
    summary.latency = Some(Latency::of(&all));
    Ok(summary)
}

fn ask(
    mut stream: Blocking,
    first: Instant,
    apart: Duration,
    until: Instant,
) -> anyhow::Result<Histogram<u64>> {
    nix::sys::prctl::set_timerslack(1).context("timer slack")?;
    let mut latency = Histogram::new(FIGURES)?;
    let mut due = first;
    while due < until {
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        stream.ask()?;
        let waited = due.elapsed().as_nanos();
        latency.record(u64::try_from(waited).unwrap_or(u64::MAX).max(1))?;
        due += apart;
    }
    Ok(latency)
}
