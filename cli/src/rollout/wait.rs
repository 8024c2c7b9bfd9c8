//! Waiting for several workloads at once, one line each.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

use crate::cluster::{Cluster, Workload};
use crate::output;

/// Waits until every one is what it should be.
///
/// # Errors
/// Those that are not, each with the reason, when `patience` is over.
pub(crate) async fn wait(
    cluster: &Cluster,
    workloads: &[Workload],
    patience: Duration,
) -> Result<()> {
    let bars = MultiProgress::new();
    let style = ProgressStyle::with_template("{spinner} {prefix}  {msg}")
        .context("the template of progress lines")?;
    let waits = workloads.iter().map(|workload| {
        let bar = bars.add(ProgressBar::new_spinner().with_style(style.clone()));
        bar.set_prefix(workload.name().to_owned());
        bar.enable_steady_tick(Duration::from_millis(120));
        async move {
            let outcome = cluster
                .wait_ready(workload, patience, |now, reason| {
                    bar.set_message(format!("{}/{} ready  {reason}", now.ready, now.wanted));
                })
                .await;
            bar.finish_and_clear();
            (workload, outcome)
        }
    });
    let mut failures = Vec::new();
    for (workload, outcome) in futures::future::join_all(waits).await {
        match outcome {
            Ok(()) => output::line(format_args!("{} is ready", workload.name())),
            Err(e) => failures.push(format!("{}: {e:#}", workload.name())),
        }
    }
    if !failures.is_empty() {
        bail!("not ready:\n  {}", failures.join("\n  "));
    }
    Ok(())
}
