//! Bulk: one thread per stream, big writes.
//! In: how many, how long. Out: bytes, as the receiver counted and compared them.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::{PATIENCE, Summary};
use crate::message::Answer;
use crate::pattern::{CHUNK, Pattern};

/// Sends until the time is over.
///
/// # Errors
/// Any stream's.
pub(crate) fn run(to: SocketAddr, streams: usize, time: Duration) -> anyhow::Result<Summary> {
    let pattern = Pattern::new();
    let start = Instant::now();
    let one = || send(to, &pattern, start + time);
    let done = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..streams).map(|_| scope.spawn(one)).collect();
        let joined = threads.into_iter().map(|thread| {
            let stream = thread.join();
            stream.unwrap_or_else(|_| Err(anyhow::anyhow!("a stream's thread panicked")))
        });
        joined.collect::<anyhow::Result<Vec<Summary>>>()
    })?;
    let mut summary = done.into_iter().fold(Summary::default(), Summary::join);
    summary.seconds = start.elapsed().as_secs_f64();
    Ok(summary)
}

fn send(to: SocketAddr, pattern: &Pattern, until: Instant) -> anyhow::Result<Summary> {
    let mut stream = TcpStream::connect_timeout(&to, PATIENCE).context("connect")?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut sent = 0_u64;
    while Instant::now() < until {
        let n = stream.write(pattern.at(sent, CHUNK)).context("send")?;
        sent += n as u64;
    }
    stream.shutdown(Shutdown::Write)?;
    let mut receipt = String::new();
    stream
        .read_to_string(&mut receipt)
        .context("read the receipt")?;
    let received = receipt.rsplit(' ').next().unwrap_or_default();
    ensure!(
        received.parse() == Ok(sent),
        "sent {sent} bytes, receipt {receipt:?}"
    );
    let mut summary = Summary {
        bytes: sent,
        ..Summary::default()
    };
    summary.connection(Answer::parse(&receipt)?);
    Ok(summary)
}
