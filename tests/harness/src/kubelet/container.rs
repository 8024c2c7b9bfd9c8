//! One container: a process that is started again whenever it ends.
//! In: what to run and a stop token. Out: whether it runs now.
//! Owns: the process; SIGTERM first, SIGKILL after the grace period.
//! Spec: `restartPolicy: Always` with back-off.

use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::process::{Process, Spawner, Spec};

/// First and longest pause before a container is started again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// What the rest of the pod sees of a container.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// Process id while it runs
    pub pid: Option<i32>,
    /// Times it ended and was started again
    pub restarts: u32,
    /// Why it does not run
    pub message: String,
}

/// Keeps `spec` running until `stop`, then ends it within `grace`.
pub async fn run(
    spawner: Spawner,
    spec: Spec,
    state: watch::Sender<State>,
    stop: CancellationToken,
    grace: Duration,
) {
    let mut pause = BACKOFF.0;
    loop {
        let message = match spawner.spawn(spec.clone()).await {
            Ok(mut process) => {
                let pid = process.pid();
                state.send_modify(|s| {
                    s.pid = Some(pid);
                    s.message.clear();
                });
                tokio::select! {
                    status = process.wait() => status.map_or_else(|e| e.to_string(), |s| s.to_string()),
                    () = stop.cancelled() => {
                        end(process, grace).await;
                        state.send_modify(|s| s.pid = None);
                        return;
                    }
                }
            }
            Err(error) => {
                warn!(
                    error = &error as &dyn std::error::Error,
                    "container did not start"
                );
                error.to_string()
            }
        };
        info!(program = %spec.program.display(), %message, "container ended");
        state.send_modify(|s| {
            s.pid = None;
            s.restarts += 1;
            s.message = message;
        });
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => return,
        }
        pause = (pause * 2).min(BACKOFF.1);
    }
}

async fn end(mut process: Process, grace: Duration) {
    process.signal(Signal::SIGTERM);
    if tokio::time::timeout(grace, process.wait()).await.is_err() {
        process.kill().await;
    }
}
