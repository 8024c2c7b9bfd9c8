//! `ambit-lab status`: what runs where.

use ambit_harness::lab::LabFile;

use super::find;

/// Arguments.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Which; all if not given
    name: Option<String>,
    /// As JSON
    #[arg(long)]
    json: bool,
}

/// Prints it.
#[expect(clippy::print_stdout, reason = "the answer")]
pub(crate) fn run(args: &Args) -> anyhow::Result<()> {
    let labs = match &args.name {
        Some(name) => vec![find::one(Some(name))?],
        None => find::all(),
    };
    if args.json {
        println!("{}", serde_json::to_string_pretty(&labs)?);
        return Ok(());
    }
    if labs.is_empty() {
        println!("no lab is running");
    }
    for lab in &labs {
        print!("{}", text(lab));
    }
    Ok(())
}

fn text(lab: &LabFile) -> String {
    let mut out = format!(
        "lab {}   process {}   YAML {}\n",
        lab.name,
        lab.pid,
        lab.source_dir.display()
    );
    for process in &lab.processes {
        let pid = process
            .pid
            .map_or_else(|| "away".to_owned(), |pid| pid.to_string());
        out.push_str(&format!(
            "  {:<12} {:<24} {pid:<8} {}\n",
            process.role,
            process.name,
            process.log.display()
        ));
    }
    for pod in &lab.pods {
        let address = pod
            .address
            .map_or_else(|| "-".to_owned(), |ip| ip.to_string());
        let state = if pod.ready { "ready" } else { &pod.message };
        out.push_str(&format!(
            "  {:<36} {:<8} {address:<14} {state}\n",
            format!("{}/{}", pod.namespace, pod.name),
            pod.node
        ));
    }
    out
}
