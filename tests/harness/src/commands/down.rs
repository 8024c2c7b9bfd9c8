//! `ambit-lab down`: ends a lab that runs elsewhere, or sweeps up after a crashed one.

use std::time::Duration;

use ambit_harness::lab::sweep;
use ambit_harness::names::LabName;
use ambit_harness::until;
use anyhow::Context as _;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::find;

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which; the only one if not given
    name: Option<String>,
}

/// Takes it down and waits until it is gone.
pub(crate) async fn run(args: &Args) -> anyhow::Result<()> {
    let lab = match (&args.name, find::one(args.name.as_deref())) {
        (_, Ok(lab)) => lab,
        // Nothing describes it: there may still be leftovers of that name.
        (Some(name), Err(_)) => return swept(&name.parse()?),
        (None, Err(error)) => return Err(error),
    };
    let name: LabName = lab.name.parse()?;
    let holder = Pid::from_raw(lab.pid);
    if kill(holder, Signal::SIGTERM).is_ok() {
        until(
            "the lab's process ends",
            Duration::from_secs(60),
            || async {
                if kill(holder, None).is_err() {
                    Ok(())
                } else {
                    Err("it runs")
                }
            },
        )
        .await
        .context("take the lab down")?;
    }
    swept(&name)
}

fn swept(name: &LabName) -> anyhow::Result<()> {
    let problems = sweep(name);
    anyhow::ensure!(problems.is_empty(), "left behind:\n{}", problems.join("\n"));
    Ok(())
}
