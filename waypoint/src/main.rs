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

const HELP: &str = "usage: ambit-waypoint [proxy | version | help]
proxy is the default; settings are environment variables.

Limits of what one client may ask, with their defaults:
  AMBIT_HEAD_TIMEOUT      10s    from the first byte of a request's head to its last; then 408
  AMBIT_IDLE_TIMEOUT      1h     a connection without a request is closed
  AMBIT_MAX_HEADER_BYTES  65536  size of a request's head; beyond, 431
  AMBIT_MAX_HEADERS       512    headers of one request; beyond, 431
  AMBIT_MAX_STREAMS       1024   requests at once on one HTTP/2 connection
Fixed: TLS, HTTP/2 and CONNECT handshakes 10s each. On each worker 512 handshakes at once, 64 of them
from one address, and 16384 tunnels, 512 from one address. In a tunnel 200 streams and 64 KiB of
headers; PING every 10s, answered within 20s. On an HTTP/2 connection inside, PING every 30s, answered
within 20s.";

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
    config.compliance.enforce();
    app::run(config).context("waypoint")
}

fn say(text: &str) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{text}").context("standard output")
}
