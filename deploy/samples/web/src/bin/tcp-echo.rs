//! The tcp-echo sample. In: ports and a word, as the public image takes them. Out: a server.
#![forbid(unsafe_code)]

use clap::Parser;

#[derive(Parser)]
#[command(name = "tcp-echo", about = "The tcp-echo sample")]
struct Args {
    /// Ports to listen on
    #[arg(default_value = "9000", value_parser = ports)]
    ports: Ports,
    /// What comes before every line
    #[arg(default_value = "hello")]
    word: String,
}

/// Ports with commas between them.
#[derive(Clone)]
struct Ports(Vec<u16>);

fn ports(text: &str) -> Result<Ports, std::num::ParseIntError> {
    text.split(',')
        .map(str::parse)
        .collect::<Result<_, _>>()
        .map(Ports)
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    ambit_web_samples::tcp_echo::serve(&args.ports.0, args.word).await
}
