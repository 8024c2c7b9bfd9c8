//! The capture hop: from an application's connect to the proxy's listener, and nothing behind it.
//! In: a lab to build in. Out: the rate of connections and of round trips on two sites, one captured by
//! the real programs, listeners and routes, one plain loopback.
//! Owns: two namespaces, two cgroups and a pin directory inside the lab, and the listeners' threads.
//! Never here: the proxy. What answers is a loop of a few lines, the same one on both sites.

pub(crate) mod client;
mod echo;
mod site;

use std::path::PathBuf;
use std::time::Duration;

use ambit_harness::Lab;
use ambit_harness::process::Spec;
use anyhow::{Context, ensure};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use client::{Kind, Said};
use echo::Echo;
use site::Site;

/// Puts this thread, and those it starts, on one processor: client and listener take turns there, so that
/// the rate tells what a hop costs and not where the scheduler happened to put them.
///
/// # Errors
/// The kernel's.
pub(crate) fn pin() -> nix::Result<()> {
    let this = Pid::from_raw(0);
    let allowed = sched_getaffinity(this)?;
    let mut numbers = 0..CpuSet::count();
    let mut first = CpuSet::new();
    first.set(
        numbers
            .find(|n| allowed.is_set(*n) == Ok(true))
            .unwrap_or(0),
    )?;
    sched_setaffinity(this, &first)
}

/// The two sites.
pub(crate) struct Hop {
    program: PathBuf,
    captured: (Echo, Site),
    bare: (Echo, Site),
}

impl Hop {
    /// Builds both.
    ///
    /// # Errors
    /// The step that failed.
    pub(crate) async fn build(lab: &Lab, program: PathBuf) -> anyhow::Result<Self> {
        let captured = Site::captured(lab).await.context("captured site")?;
        let bare = Site::bare(lab).context("bare site")?;
        Ok(Self {
            program,
            captured: (Echo::start(&captured)?, captured),
            bare: (Echo::start(&bare)?, bare),
        })
    }

    /// Dials for a while and returns the rate per second.
    ///
    /// # Errors
    /// A count of the client that differs from the listener's, or a connection that was not captured.
    pub(crate) async fn measure(
        &self,
        lab: &Lab,
        captured: bool,
        kind: Kind,
        time: Duration,
    ) -> anyhow::Result<f64> {
        let (echo, site) = if captured { &self.captured } else { &self.bare };
        echo.prepare(kind);
        let args = [
            "hop".to_owned(),
            "--to".to_owned(),
            site.dials.to_string(),
            "--seconds".to_owned(),
            time.as_secs_f64().to_string(),
            kind.name().to_owned(),
        ];
        let spec = Spec::new(&self.program, args).at(site.place.clone());
        let output = lab.run(spec).await?;
        ensure!(output.status.success(), "{}", output.stderr.trim());
        let said: Said = output.summary()?;
        let served = echo.served()?;
        ensure!(
            served == said.count,
            "the client counts {}, the listener {served}",
            said.count
        );
        Ok(said.rate())
    }
}
