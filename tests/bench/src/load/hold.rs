//! Idle connections, in steps.
//! In: how many per step; a line on standard input for the next step and for the end. Out: a line for
//! each step, when all its connections are open and answered once.

use std::net::SocketAddr;
use std::time::Instant;

use anyhow::ensure;
use serde::{Deserialize, Serialize};

use super::Summary;
use super::stream::Blocking;

/// Said after each step.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct HeldLine {
    /// Connections open now
    pub(crate) held: u64,
}

/// Opens connections and keeps them.
///
/// # Errors
/// Any connection's; at the end every one must still answer.
#[expect(clippy::print_stdout, reason = "the dialogue is this program's output")]
pub(crate) fn run(to: SocketAddr, count: usize, steps: usize) -> anyhow::Result<Summary> {
    let start = Instant::now();
    let mut summary = Summary::default();
    let mut held = Vec::new();
    for _ in 0..steps {
        for _ in 0..count {
            let mut stream = Blocking::connect(to)?;
            summary.connection(stream.answer()?);
            summary.requests += 1;
            held.push(stream);
        }
        let line = HeldLine {
            held: held.len() as u64,
        };
        println!("{}", serde_json::to_string(&line)?);
        let mut next = String::new();
        ensure!(
            std::io::stdin().read_line(&mut next)? > 0,
            "nobody asks for the next step"
        );
    }
    for stream in &mut held {
        stream.ask()?;
        summary.requests += 1;
    }
    summary.seconds = start.elapsed().as_secs_f64();
    Ok(summary)
}
