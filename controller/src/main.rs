//! `ambit-controller`.
#![forbid(unsafe_code)]

use ambit_controller::{app, config::Args};
use ambit_runtime::{drain, signal::Signals, tasks};
use ambit_telemetry::{logging, sink::Sink};
use anyhow::Context;
use clap::Parser;
use std::time::Duration;

/// Streams and requests get this long to end.
const GRACE: Duration = Duration::from_secs(10);
/// Last lines of the log get this long to be written.
const FLUSH: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let sink = Sink::stdout().context("cannot start the log")?;
    logging::init(args.log_format(), &args.log, sink.clone()).context("--log")?;
    let config = args.config().context("wrong arguments")?;
    let (trigger, watch) = drain::channel();
    let signals = Signals::install()?;
    let _signals = tasks::spawn("signals", signals.drive(trigger.clone(), GRACE));
    let outcome = match app::App::start(config, watch).await {
        Ok(app) => app.finished().await,
        Err(error) => Err(error),
    };
    if let Err(error) = &outcome {
        tracing::error!(error = %format!("{error:#}"), "controller stops");
    }
    sink.flush(FLUSH);
    outcome
}
