//! Signals of the process: SIGTERM and SIGINT begin the drain, a second SIGINT ends at once.
//! In: Unix signals. Out: [`Trigger::start`]. Must not: clean up by itself.

use crate::drain::Trigger;
use std::time::Duration;
use thiserror::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Why signals cannot be received.
#[derive(Debug, Error)]
#[error("cannot install the handler of {signal}")]
pub struct InstallError {
    /// Signal name.
    pub signal: &'static str,
    /// Cause.
    #[source]
    pub source: std::io::Error,
}

/// Installed handlers. Installing early means that a signal during start-up is not lost.
#[derive(Debug)]
pub struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Installs the handlers. Must run inside a Tokio runtime.
    pub fn install() -> Result<Self, InstallError> {
        let handler = |kind, name| {
            signal(kind).map_err(|source| InstallError {
                signal: name,
                source,
            })
        };
        Ok(Self {
            terminate: handler(SignalKind::terminate(), "SIGTERM")?,
            interrupt: handler(SignalKind::interrupt(), "SIGINT")?,
        })
    }

    /// Turns signals into a drain of `grace`; never returns, so run it as a task. The second SIGINT
    /// exits the process with status 130, the shell's convention for an interrupted program.
    pub async fn drive(mut self, trigger: Trigger, grace: Duration) {
        let mut interrupts = 0;
        loop {
            let name = tokio::select! {
                _ = self.terminate.recv() => "SIGTERM",
                _ = self.interrupt.recv() => {
                    interrupts += 1;
                    "SIGINT"
                }
            };
            if interrupts > 1 {
                tracing::warn!(signal = name, "second interrupt, exiting without drain");
                std::process::exit(130);
            }
            tracing::info!(signal = name, grace = ?grace, "drain begins");
            trigger.start(grace);
        }
    }
}
