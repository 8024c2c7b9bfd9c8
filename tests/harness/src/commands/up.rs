//! `ambit-lab up`: a lab that lives until Ctrl-C.

use std::path::PathBuf;
use std::time::Duration;

use ambit_harness::{Families, Lab};
use tokio::signal::unix::{SignalKind, signal};

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Name
    #[arg(default_value = "lab")]
    name: String,
    /// Nodes
    #[arg(long, default_value_t = 2)]
    nodes: u8,
    /// Address families: ipv4, ipv6 or dual
    #[arg(long, default_value = "ipv4")]
    families: Families,
    /// File or directory of YAML to apply; may be repeated
    #[arg(short = 'f', long = "file")]
    files: Vec<PathBuf>,
    /// A plain cluster network: no agent, proxy or controller
    #[arg(long)]
    without_mesh: bool,
    /// Log filter of every program
    #[arg(long, default_value = "info")]
    log: String,
}

/// Brings the lab up and holds it.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(tracing::Level::WARN)
        .init();
    let mut term = signal(SignalKind::terminate())?;
    let mut builder = Lab::builder(&args.name)
        .nodes(args.nodes)
        .families(args.families)
        .log_filter(&args.log)
        .progress(say);
    if args.without_mesh {
        builder = builder.without_mesh();
    }
    let lab = tokio::select! {
        lab = builder.up() => lab?,
        _ = term.recv() => return Ok(()),
        _ = tokio::signal::ctrl_c() => return Ok(()),
    };
    for file in &args.files {
        lab.apply_file(file)?;
    }
    if !args.files.is_empty() {
        say("pods");
        if let Err(error) = lab.pods_ready(Duration::from_secs(60)).await {
            say(&error.to_string());
        }
    }
    say(&format!(
        "lab {} is up; its YAML is {}; Ctrl-C takes it down",
        lab.name(),
        lab.directory().display()
    ));
    tokio::select! {
        _ = term.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    lab.down().await;
    Ok(())
}

#[expect(clippy::print_stdout, reason = "progress of a command")]
fn say(line: &str) {
    println!("{line}");
}
