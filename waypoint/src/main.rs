//! The waypoint binary: reads settings, runs until drained.
#![forbid(unsafe_code)]

use ambit_runtime::env::ProcessEnv;
use ambit_waypoint::app;
use ambit_waypoint::config::Config;
use anyhow::Context;
use std::io::Write;
use std::process::ExitCode;

/// Returns memory to the system in the background; the data plane frees in bursts.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

const HELP: &str = "usage: ambit-waypoint [proxy | version | help]\n\
                    proxy is the default; settings are environment variables.";

fn main() -> ExitCode {
    let command = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "proxy".to_owned());
    let result = match command.as_str() {
        "proxy" => proxy(),
        "version" => say(ambit_runtime::build_info::VERSION),
        "help" | "--help" | "-h" => say(HELP),
        other => Err(anyhow::anyhow!("unknown command `{other}`\n{HELP}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Before logging is set up, and after it has ended, standard error is all there is.
            let _ = writeln!(std::io::stderr(), "ambit-waypoint: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn proxy() -> anyhow::Result<()> {
    let config = Config::from_env(&ProcessEnv).context("settings")?;
    app::run(config).context("waypoint")
}

fn say(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{text}").context("standard output")
}
