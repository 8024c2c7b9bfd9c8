//! `ambit-lab demo`: makes a lab and shows the mesh on it. `cargo xtask demo` builds and runs this.

use std::path::PathBuf;
use std::time::Duration;

use ambit_harness::Lab;
use ambit_harness::demo::{self, Check, Report, Scene};
use tokio::signal::unix::{SignalKind, signal};

use super::detach;

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Name of the lab
    #[arg(long, default_value = "demo")]
    name: String,
    /// Leave the lab up
    #[arg(long)]
    keep: bool,
    /// File or directory of one's own YAML, applied beside the sample; may be repeated
    #[arg(short = 'f', long = "file")]
    files: Vec<PathBuf>,
    /// Log filter of every program
    #[arg(long, default_value = "info")]
    log: String,
    /// This is the process that holds a kept lab
    #[arg(long, hide = true)]
    holder: bool,
}

/// Runs the demo.
///
/// # Errors
/// If a step did not hold.
pub(crate) async fn run(args: Args) -> anyhow::Result<()> {
    if args.keep && !args.holder {
        return detach::run().await;
    }
    if args.holder {
        detach::become_holder()?;
    }
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(tracing::Level::ERROR)
        .init();
    let mut term = signal(SignalKind::terminate())?;
    tokio::select! {
        shown = show(&args) => {
            let (lab, held) = shown?;
            if args.keep {
                detach::release(held)?;
                term.recv().await;
            }
            lab.down().await;
            anyhow::ensure!(held, "the demo did not hold");
            Ok(())
        }
        _ = term.recv() => anyhow::bail!("stopped; everything is cleaned up"),
        _ = tokio::signal::ctrl_c() => anyhow::bail!("stopped; everything is cleaned up"),
    }
}

/// The lab, and whether every step held.
async fn show(args: &Args) -> anyhow::Result<(Lab, bool)> {
    say("Two nodes, each a network namespace with an agent and a ztunnel; one controller.");
    let builder = Lab::builder(&args.name).nodes(2).log_filter(&args.log);
    let lab = builder
        .progress(|step| say(&format!("  … {step}")))
        .up()
        .await?;
    let mut report = Report::new(Box::new(std::io::stdout()));
    {
        let scene = Scene::new(&lab);
        demo::run(&scene, &mut report).await;
    }
    for file in &args.files {
        report.step(&format!("+  your own YAML: {}", file.display()));
        lab.apply_file(file)?;
        let ready = lab.pods_ready(Duration::from_secs(60)).await;
        let seen = ready
            .as_ref()
            .map_or_else(|error| error.last.clone(), |()| "all".to_owned());
        report.check(Check::new(
            "pods that are ready",
            seen,
            "all",
            ready.is_ok(),
        ));
    }
    let failed = report.failed();
    say(&format!(
        "\n{} checks, {} did not hold",
        report.checks(),
        failed.len()
    ));
    for line in failed {
        say(&format!("  {line}"));
    }
    if args.keep {
        say(&instructions(&lab));
    }
    let held = failed.is_empty();
    Ok((lab, held))
}

fn instructions(lab: &Lab) -> String {
    let (name, dir) = (lab.name(), lab.directory().display());
    let bin = lab.programs().display();
    format!(
        "\nThe lab {name} stays up.\n  \
         its YAML       {dir}   (edit, add and remove files: it follows)\n  \
         its logs       {}\n  \
         look           {bin}/ambit-lab status, {bin}/ambit status --lab {name}\n  \
         call           {bin}/ambit-lab exec bookinfo/client -- bookinfo client http://productpage:9080/productpage\n  \
         take it down   {bin}/ambit-lab down {name}",
        lab.run_dir().join("log").display()
    )
}

#[expect(clippy::print_stdout, reason = "the demo is what it prints")]
fn say(line: &str) {
    println!("{line}");
}
