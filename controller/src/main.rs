//! `ambit-controller`.
#![forbid(unsafe_code)]

use ambit_controller::app;
use ambit_controller::config::{Args, Config};
use ambit_runtime::{drain, signal::Signals, tasks};
use ambit_telemetry::{logging, sink::Sink};
use anyhow::Context;
use clap::error::ErrorKind;
use clap::{CommandFactory, Parser};
use std::process::ExitCode;
use std::time::Duration;

// A first answer to a node is megabytes; what it took goes back to the machine.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Streams and requests get this long to end.
const GRACE: Duration = Duration::from_secs(10);
/// Last lines of the log get this long to be written.
const FLUSH: Duration = Duration::from_secs(1);

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    let prepared = args.config().and_then(|config| {
        let sink = Sink::stdout().context("cannot start the log")?;
        logging::init(args.log_format(), &args.log, sink.clone()).context("--log")?;
        Ok((config, sink))
    });
    let (config, sink) = match prepared {
        Ok(prepared) => prepared,
        // There is no log yet.
        Err(error) => Args::command()
            .error(ErrorKind::ValueValidation, format!("{error:#}"))
            .exit(),
    };
    config.compliance.enforce();
    let outcome = run(config).await;
    if let Err(error) = &outcome {
        tracing::error!(error = %format!("{error:#}"), "controller stops");
    }
    sink.flush(FLUSH);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

async fn run(config: Config) -> anyhow::Result<()> {
    let (trigger, watch) = drain::channel();
    let signals = Signals::install()?;
    let _signals = tasks::spawn("signals", signals.drive(trigger.clone(), GRACE));
    app::App::start(config, watch).await?.finished().await
}
