//! Waiting for a condition.
//! In: something to ask again and again. Out: its answer, or after a while what it still lacked.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long anything may take on a busy machine.
const LONGEST: Duration = Duration::from_secs(60);
const PAUSE: Duration = Duration::from_millis(200);

/// Asks until the answer is `Ok`; `Err` is what is lacking.
pub(crate) fn until<T>(what: &str, mut condition: impl FnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + LONGEST;
    loop {
        match condition() {
            Ok(value) => return Ok(value),
            Err(lacking) if Instant::now() > deadline => {
                bail!("{what}: not after {LONGEST:?}; the last answer was: {lacking:#}")
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}
