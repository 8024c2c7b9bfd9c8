//! The route's time: from the request's head to the end of the response.

use std::future::Future;
use std::time::Duration;
use tokio::time::Instant;

/// When a request must be over; `None`: never.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// Begins now.
    pub(crate) fn after(limit: Option<Duration>) -> Self {
        Self(limit.map(|limit| Instant::now() + limit))
    }

    /// When.
    pub(crate) fn at(self) -> Option<Instant> {
        self.0
    }

    /// Waits for `future` until then; `None`: too late.
    pub(crate) async fn bound<T>(self, future: impl Future<Output = T>) -> Option<T> {
        match self.0 {
            Some(at) => tokio::time::timeout_at(at, future).await.ok(),
            None => Some(future.await),
        }
    }
}
