//! `ambit-agent`: one per node.
#![forbid(unsafe_code)]

use std::time::Duration;

use ambit_agent::config::Config;
use ambit_runtime::{drain, signal, tasks};
use anyhow::Context;
use clap::Parser;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

fn main() -> anyhow::Result<()> {
    let config = Config::parse();
    let filter = tracing_subscriber::EnvFilter::try_new(&config.log).context("--log")?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .init();
    // Each pod costs five descriptors per worker of the proxy.
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most)?;
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .context("runtime")?
        .block_on(async {
            let (trigger, watch) = drain::channel();
            let _signals =
                tasks::spawn("signals", signal::Signals::install()?.drive(trigger, GRACE));
            ambit_agent::app::run(config, watch).await?;
            Ok(())
        })
}

/// Nothing has to be finished before the agent may go.
const GRACE: Duration = Duration::from_secs(1);
