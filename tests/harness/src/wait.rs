//! Waiting for a condition.
//! In: a question to ask and how long it may stay unanswered. Out: the answer, or what it was last.
//! Never here: waiting for time to pass.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use thiserror::Error;
use tokio::time::Instant;

/// How often the question is asked.
const EVERY: Duration = Duration::from_millis(25);

/// The condition did not come true in time.
#[derive(Debug, Error)]
#[error("{what}: not within {limit:?}; last seen: {last}")]
pub struct NotYet {
    /// What was waited for
    pub what: String,
    /// For how long
    pub limit: Duration,
    /// What there was instead
    pub last: String,
}

/// Asks until the answer is `Ok`, at most for `limit`. A question that hangs counts as unanswered.
///
/// # Errors
/// [`NotYet`] with the last `Err`.
pub async fn until<T, E, F, Fut>(what: &str, limit: Duration, mut ask: F) -> Result<T, NotYet>
where
    E: Debug,
    F: FnMut() -> Fut,
    Fut: Future<Output = Result<T, E>>,
{
    let deadline = Instant::now() + limit;
    let mut last = "no answer".to_owned();
    while let Ok(answer) = tokio::time::timeout_at(deadline, ask()).await {
        match answer {
            Ok(value) => return Ok(value),
            Err(error) => last = format!("{error:?}"),
        }
        if Instant::now() >= deadline {
            break;
        }
        tokio::time::sleep(EVERY).await;
    }
    Err(NotYet {
        what: what.to_owned(),
        limit,
        last,
    })
}
