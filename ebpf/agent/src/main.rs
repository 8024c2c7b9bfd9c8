//! `ambit-agent`: one per node.
#![forbid(unsafe_code)]

use std::io::IsTerminal as _;
use std::time::Duration;

use ambit_agent::config::{Config, Invocation};
use ambit_runtime::{drain, signal, tasks};
use anyhow::Context;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

fn main() -> anyhow::Result<()> {
    let invocation = Invocation::parse_from(std::env::args_os());
    let filter = tracing_subscriber::EnvFilter::try_new(invocation.log()).context("--log")?;
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
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
            match invocation {
                Invocation::Run(config) => run(*config).await,
                Invocation::Uninstall(uninstall) => {
                    Ok(ambit_agent::leave::by_hand(&uninstall.node).await?)
                }
            }
        })
}

async fn run(config: Config) -> anyhow::Result<()> {
    let (trigger, watch) = drain::channel();
    let _signals = tasks::spawn("signals", signal::Signals::install()?.drive(trigger, GRACE));
    ambit_agent::app::run(config, watch).await?;
    Ok(())
}

/// Nothing has to be finished before an agent may go that another one follows.
const GRACE: Duration = Duration::from_secs(1);
