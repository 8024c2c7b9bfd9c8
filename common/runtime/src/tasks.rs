//! Supervised tasks: every task has a name and an owner that aborts it when dropped.
//! In: futures. Out: how each of them ended. Must not: restart a task; the owner decides.

use std::any::Any;
use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use tokio::task::{Id, JoinError, JoinHandle, JoinSet};

static PANICS: AtomicU64 = AtomicU64::new(0);

/// Tasks of this process that have panicked since start.
pub fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// How a task ended.
#[derive(Debug, PartialEq, Eq)]
pub enum End<T> {
    /// It returned.
    Returned(T),
    /// It panicked with this message; already logged and counted.
    Panicked(String),
    /// It was aborted.
    Aborted,
}

/// One task that lives as long as this handle. Awaiting it gives its [`End`].
#[derive(Debug)]
#[must_use = "dropping the handle aborts the task"]
pub struct Task<T> {
    name: &'static str,
    handle: JoinHandle<T>,
}

/// Spawns onto the current runtime.
pub fn spawn<F>(name: &'static str, future: F) -> Task<F::Output>
where
    F: Future + Send + 'static,
    F::Output: Send + 'static,
{
    #[allow(clippy::disallowed_methods, reason = "this is the owner")]
    let handle = tokio::spawn(future);
    Task { name, handle }
}

/// Spawns onto the current `LocalSet`; panics outside of one, as Tokio does.
pub fn spawn_local<F>(name: &'static str, future: F) -> Task<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    Task {
        name,
        handle: tokio::task::spawn_local(future),
    }
}

/// Runs blocking work on the blocking pool of the current runtime. An abort cannot stop it once it runs.
pub fn spawn_blocking<F, T>(name: &'static str, work: F) -> Task<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    Task {
        name,
        handle: tokio::task::spawn_blocking(work),
    }
}

impl<T> Task<T> {
    /// Task name, for logs.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether it has ended.
    pub fn is_finished(&self) -> bool {
        self.handle.is_finished()
    }

    /// Asks it to stop at its next await.
    pub fn abort(&self) {
        self.handle.abort();
    }
}

impl<T> Future for Task<T> {
    type Output = End<T>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let name = self.name;
        Pin::new(&mut self.handle)
            .poll(cx)
            .map(|result| end_of(name, result))
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.handle.abort();
    }
}

/// A set of tasks with one owner. Dropping it aborts all of them.
#[derive(Debug)]
pub struct TaskGroup {
    name: &'static str,
    set: JoinSet<()>,
    names: HashMap<Id, &'static str>,
}

/// One task of a group that ended.
#[derive(Debug, PartialEq, Eq)]
pub struct Ended {
    /// Name given at spawn.
    pub task: &'static str,
    /// How.
    pub end: End<()>,
}

impl TaskGroup {
    /// An empty group. The name appears in logs.
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            set: JoinSet::new(),
            names: HashMap::new(),
        }
    }

    /// Adds a task on the current runtime.
    pub fn spawn(&mut self, task: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        let id = self.set.spawn(future).id();
        self.names.insert(id, task);
    }

    /// Adds a task on the current `LocalSet`.
    pub fn spawn_local(&mut self, task: &'static str, future: impl Future<Output = ()> + 'static) {
        let id = self.set.spawn_local(future).id();
        self.names.insert(id, task);
    }

    /// Tasks that have not been collected by [`Self::next`] or [`Self::reap`].
    pub fn len(&self) -> usize {
        self.set.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty()
    }

    /// Waits for the next task to end; `None` when the group is empty. Cancel-safe.
    pub async fn next(&mut self) -> Option<Ended> {
        let joined = self.set.join_next_with_id().await?;
        Some(self.ended(joined))
    }

    /// Collects tasks that have ended, without waiting. An accept loop calls it per connection, so
    /// that ended tasks do not pile up.
    pub fn reap(&mut self) -> usize {
        let mut count = 0;
        while let Some(joined) = self.set.try_join_next_with_id() {
            self.ended(joined);
            count += 1;
        }
        count
    }

    /// Aborts all tasks and waits until they are gone.
    pub async fn shutdown(&mut self) {
        self.set.abort_all();
        while self.next().await.is_some() {}
    }

    /// Waits for all tasks to end by themselves.
    pub async fn wait(&mut self) {
        while self.next().await.is_some() {}
    }

    fn ended(&mut self, joined: Result<(Id, ()), JoinError>) -> Ended {
        let (id, result) = match joined {
            Ok((id, ())) => (id, Ok(())),
            Err(error) => (error.id(), Err(error)),
        };
        let task = self.names.remove(&id).unwrap_or(self.name);
        Ended {
            task,
            end: end_of(task, result),
        }
    }
}

fn end_of<T>(name: &'static str, result: Result<T, JoinError>) -> End<T> {
    match result {
        Ok(value) => End::Returned(value),
        Err(error) => match error.try_into_panic() {
            Ok(payload) => {
                let message = panic_message(payload.as_ref());
                PANICS.fetch_add(1, Ordering::Relaxed);
                tracing::error!(task = name, error = %message, "task panicked");
                End::Panicked(message)
            }
            Err(_) => End::Aborted,
        },
    }
}

fn panic_message(payload: &(dyn Any + Send)) -> String {
    payload
        .downcast_ref::<&str>()
        .map(|s| (*s).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "panic without a message".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::oneshot;

    #[tokio::test]
    async fn a_panic_is_reported_with_its_task() {
        let mut group = TaskGroup::new("test");
        group.spawn("bad", async { panic!("broken {}", 7) });
        let ended = group.next().await.unwrap();
        assert_eq!(ended.task, "bad");
        assert_eq!(ended.end, End::Panicked("broken 7".into()));
        assert!(panics() >= 1);
        assert!(group.next().await.is_none());
    }

    #[tokio::test]
    async fn dropping_the_owner_ends_the_task() {
        let (guard, gone) = oneshot::channel::<()>();
        let task = spawn("held", async move {
            let _guard = guard;
            std::future::pending::<()>().await;
        });
        drop(task);
        assert!(gone.await.is_err());

        let (guard, gone) = oneshot::channel::<()>();
        let mut group = TaskGroup::new("test");
        group.spawn("held", async move {
            let _guard = guard;
            std::future::pending::<()>().await;
        });
        drop(group);
        assert!(gone.await.is_err());
    }

    #[tokio::test]
    async fn a_task_returns_its_value() {
        assert_eq!(spawn("seven", async { 7 }).await, End::Returned(7));
        let local = tokio::task::LocalSet::new();
        let value = std::rc::Rc::new(8);
        let end = local
            .run_until(async move { spawn_local("eight", async move { *value }).await })
            .await;
        assert_eq!(end, End::Returned(8));
    }
}
