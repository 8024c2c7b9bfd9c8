//! The node proxy binary: reads settings, runs until drained.
#![forbid(unsafe_code)]

mod probe;

use ambit_runtime::env::ProcessEnv;
use ambit_ztunnel::app;
use ambit_ztunnel::config::Config;
use anyhow::Context;
use std::process::ExitCode;

/// Returns memory to the system in the background; the data plane frees in bursts.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let command = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "proxy".to_owned());
    let result = match command.as_str() {
        "proxy" => proxy(),
        "version" => say(ambit_runtime::build_info::VERSION),
        "probe" => probe(),
        "help" | "--help" | "-h" => say(HELP),
        other => Err(anyhow::anyhow!("unknown command `{other}`\n{HELP}")),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn proxy() -> anyhow::Result<()> {
    let names: Vec<_> = std::env::vars_os()
        .filter_map(|(name, _)| name.into_string().ok())
        .collect();
    let config = Config::from_names(&ProcessEnv, &names).context("settings")?;
    config.compliance.enforce();
    app::run(config).context("ztunnel")
}

fn probe() -> anyhow::Result<()> {
    let arguments: Vec<_> = std::env::args().skip(2).collect();
    say(&probe::run(&arguments)?)
}

fn say(text: &str) -> anyhow::Result<()> {
    use std::io::Write;
    writeln!(std::io::stdout(), "{text}").context("standard output")
}

/// Before logging is set up, and after it has ended, standard error is all there is.
fn report(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "ztunnel: {text}");
}

const HELP: &str = "usage: ztunnel [proxy | probe | version | help]\nproxy is the default; settings are environment variables.";
