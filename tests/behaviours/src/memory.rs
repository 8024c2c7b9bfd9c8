//! What an attack costs the programs that are attacked.
//! In: processes, an attack that can be made again and again. Out: whether their memory returns to within
//! a tenth of what it was before.
//! Never here: what the attack is.
//!
//! What "before" is: the first round of any attack leaves something that is no leak: size classes of the
//! allocator (jemalloc in each of the programs), tables that keep their capacity, buffers of connections
//! that live on. How much of it depends on what ran before, so no share of the memory before the first
//! round is a limit that holds. What does hold: such growth ends, a leak does not. So the same attack is
//! made again until what is at rest after a round is within a tenth of what was at rest before it. The
//! tenth is that of the first rest, or a leak would make room for itself; and where it is more than
//! [`MOST`], that is the limit: a large process may not leak more than a small one. All is of memory that
//! the process has written, not of its binary, which makes a tenth less.
//!
//! How small a leak is found: a thousand attackers that leave 4 KiB each leave four times [`MOST`]
//! in every round, five hundred twice as much, so no round passes. A round has so many attackers, or as
//! many streams on fewer connections, unless its test says otherwise.

use crate::town::SOON;
use ambit_harness::until;
use anyhow::{Context as _, Result, bail};
use std::cell::Cell;
use std::time::Duration;
use tokio::time::Instant;

/// What a round may add, as a part of what was at rest after the first one.
const PART: u64 = 10;
/// What it may add at most, in KiB: a page or two in each of the allocator's size classes.
const MOST: u64 = 1024;
/// Rounds after the first one, until one adds no more than that.
const ROUNDS: usize = 4;
/// Memory that has not fallen for so long is at rest: longer than the allocator of a lab's proxies keeps
/// free pages.
const SETTLED: Duration = Duration::from_secs(2);
/// A fall of less is none, in KiB: connections that go on need a little more or less at any time.
const FALL: u64 = 64;

/// Makes `attack` again until a round leaves the memory of each of `pids` as the one before it did.
///
/// # Errors
/// The attack's own; or every round has left more behind.
pub async fn returns(pids: &[i32], mut attack: impl AsyncFnMut() -> Result<()>) -> Result<()> {
    attack().await?;
    let mut rests = vec![all_at_rest(pids).await?];
    for _ in 0..ROUNDS {
        attack().await?;
        let now = all_at_rest(pids).await?;
        let both = rests[rests.len() - 1].iter().zip(&now);
        let back = both
            .zip(&rests[0])
            .all(|((before, now), first)| *now <= before + allowed(*first));
        rests.push(now);
        if back {
            return Ok(());
        }
    }
    bail!("each round left more than a tenth or {MOST} KiB behind: {rests:?}")
}

/// What a round may add where so much was at rest after the first, in KiB.
fn allowed(first: u64) -> u64 {
    MOST.min(first / PART)
}

async fn all_at_rest(pids: &[i32]) -> Result<Vec<u64>> {
    let mut rests = Vec::with_capacity(pids.len());
    for pid in pids {
        rests.push(at_rest(*pid).await?);
    }
    Ok(rests)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenth_may_be_added_and_no_more_than_a_mebibyte() {
        assert_eq!(allowed(4 << 10), 409);
        assert_eq!(allowed(100 << 10), 1 << 10);
    }
}
