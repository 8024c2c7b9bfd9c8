//! What an attack costs the program that is attacked.
//! In: a process, an attack that can be made again and again. Out: whether it leaves memory behind.
//! Never here: what the attack is.
//!
//! The first round of any attack leaves something that is no leak: size classes of the allocator, tables
//! that keep their capacity, buffers of connections that live on. How much of it depends on what ran
//! before, so no share of the memory before the attack is a limit that holds. What does hold: such
//! growth ends, a leak does not. So the same attack is made again until a round adds nothing.
//!
//! How small a leak is found: a thousand attackers that leave 4 KiB each leave four times [`ALLOWED`]
//! in every round, five hundred twice as much, so no round passes. A round has so many attackers, or as
//! many streams on fewer connections, unless its test says otherwise.

use crate::town::SOON;
use ambit_harness::until;
use anyhow::{Context as _, Result, bail};
use std::cell::Cell;
use std::time::Duration;
use tokio::time::Instant;

/// What a round may add, in KiB: a page or two in each of the allocator's size classes.
const ALLOWED: u64 = 1024;
/// Rounds after the first one, until one adds no more than that.
const ROUNDS: usize = 4;
/// Memory that has not fallen for so long is at rest: longer than the allocator of a lab's proxies keeps
/// free pages.
const SETTLED: Duration = Duration::from_secs(2);
/// A fall of less is none, in KiB: connections that go on need a little more or less at any time.
const FALL: u64 = 64;

/// Makes `attack` again until a round leaves the memory of `pid` as the one before it did.
///
/// # Errors
/// The attack's own; or every round has left more behind.
pub async fn returns(pid: i32, mut attack: impl AsyncFnMut() -> Result<()>) -> Result<()> {
    attack().await?;
    let mut rests = vec![at_rest(pid).await?];
    for _ in 0..ROUNDS {
        attack().await?;
        let (now, before) = (at_rest(pid).await?, rests[rests.len() - 1]);
        rests.push(now);
        if now <= before + ALLOWED {
            return Ok(());
        }
    }
    bail!("each round left more than {ALLOWED} KiB behind: {rests:?}")
}

/// The least memory of a process, in KiB, once it falls no further. A process never uses less than what it
/// holds, so steps up do not matter.
async fn at_rest(pid: i32) -> Result<u64> {
    let least = Cell::new((own(pid)?, Instant::now()));
    let rest = until("memory is at rest", SOON, || async {
        let now = own(pid).map_err(|error| format!("{error:#}"))?;
        let (then, since) = least.get();
        if now + FALL <= then {
            least.set((now, Instant::now()));
        } else if since.elapsed() >= SETTLED {
            return Ok(then);
        }
        Err(format!("{then} KiB since {:?}, now {now}", since.elapsed()))
    });
    Ok(rest.await?)
}

/// What a process has written, in KiB (`RssAnon` of `/proc/<pid>/status`). What it has read from its
/// binary cannot leak, and is megabytes in a build without optimization.
fn own(pid: i32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = std::fs::read_to_string(&path).with_context(|| path.clone())?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("RssAnon:"));
    let number = line.and_then(|line| line.split_whitespace().next());
    Ok(number
        .with_context(|| format!("no RssAnon in {path}"))?
        .parse()?)
}
