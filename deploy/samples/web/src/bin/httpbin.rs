//! The httpbin sample. In: nothing that must be set. Out: a server on ports 80 and 8080.
//! Arguments that the public images take are accepted and ignored: their manifests give them.
#![forbid(unsafe_code)]

use std::net::SocketAddr;

use ambit_web_samples::httpbin::Httpbin;
use ambit_web_samples::server;
use clap::Parser;

#[derive(Parser)]
#[command(name = "httpbin", about = "The httpbin sample")]
struct Args {
    /// Addresses to listen on
    #[arg(
        long,
        env = "LISTEN",
        value_delimiter = ',',
        default_value = "[::]:80,[::]:8080"
    )]
    listen: Vec<SocketAddr>,
    /// Name of its pod
    #[arg(long, env = "HOSTNAME", default_value = "unknown")]
    instance: String,
    /// Ignored
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    ignored: Vec<String>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    server::serve(&args.listen, Httpbin::new(args.instance)).await
}
