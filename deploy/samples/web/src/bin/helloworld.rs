//! The helloworld sample. In: environment as the public image has it. Out: a server on port 5000.
#![forbid(unsafe_code)]

use std::net::SocketAddr;

use ambit_web_samples::hello::Hello;
use ambit_web_samples::server;
use clap::Parser;

#[derive(Parser)]
#[command(name = "helloworld", about = "The helloworld sample")]
struct Args {
    /// Address to listen on
    #[arg(long, env = "LISTEN", default_value = "[::]:5000")]
    listen: SocketAddr,
    /// Version it says it is
    #[arg(long, env = "SERVICE_VERSION", default_value = "v1")]
    version: String,
    /// Name of its pod
    #[arg(long, env = "HOSTNAME", default_value = "unknown")]
    instance: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let app = Hello {
        version: args.version,
        instance: args.instance,
    };
    server::serve(&[args.listen], app).await
}
