//! `ambit analyze`: reads files, or the objects of a cluster, exactly as the controller does and prints
//! every finding. Nothing is applied.

use crate::cluster::Chosen;
use crate::output::{self, Format, Verdict};
use ambit_crds::Severity;
use ambit_source::{Batch, Problem, kubernetes};
use anyhow::{Context, Result};
use serde::Serialize;
use std::path::PathBuf;
use std::time::Duration;

/// How long a cluster may take to list its objects.
const PATIENCE: Duration = Duration::from_secs(60);

/// Options of `ambit analyze`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Directory of YAML instead of the cluster; may be given several times
    #[arg(short, long = "filename", value_name = "DIR")]
    filename: Vec<PathBuf>,
    /// Let warnings fail, too
    #[arg(long)]
    strict: bool,
}

/// One finding, as `-o json` prints it.
#[derive(Serialize)]
struct Finding {
    level: &'static str,
    code: &'static str,
    origin: String,
    field: String,
    message: String,
    file: String,
    line: usize,
}

/// Checks the files. [`Verdict::Wrong`] when something would be refused.
pub(crate) async fn run(args: &Args, place: &Chosen, format: Format) -> Result<Verdict> {
    let mut objects = 0;
    let mut findings = Vec::new();
    let mut bad = false;
    let mut batches = Vec::new();
    for path in &args.filename {
        batches.push(ambit_source::load(path).with_context(|| format!("read {}", path.display()))?);
    }
    if args.filename.is_empty() {
        batches.push(of_cluster(place).await?);
    }
    for batch in batches {
        objects += batch.changes.len();
        bad |= batch.problems.iter().any(|p| args.strict || p.is_error());
        findings.extend(batch.problems.iter().map(finding));
    }
    if format == Format::Table {
        for f in &findings {
            let field = if f.field.is_empty() {
                String::new()
            } else {
                format!(" {}:", f.field)
            };
            output::line(format_args!(
                "{} [{}] ({} {}:{}){field} {}",
                f.level, f.code, f.origin, f.file, f.line, f.message
            ));
        }
        output::line(match findings.len() {
            0 => format!("No validation issues found in {objects} objects."),
            n => format!("{n} issues found; {objects} objects are good."),
        });
    } else {
        output::value(&findings, format)?;
    }
    Ok(if bad { Verdict::Wrong } else { Verdict::Fine })
}

/// Everything the controller would read.
async fn of_cluster(place: &Chosen) -> Result<Batch> {
    let cluster = place.connect().await?;
    let mut watch = kubernetes::watch(cluster.client, kubernetes::Kinds::Mesh);
    let first = tokio::time::timeout(PATIENCE, watch.next())
        .await
        .with_context(|| format!("the objects of {} within {PATIENCE:?}", cluster.server))?;
    first.context("the objects of the cluster")
}

fn finding(problem: &Problem) -> Finding {
    Finding {
        level: match problem.error.severity {
            Severity::Error => "Error",
            Severity::Warning => "Warning",
        },
        code: problem.error.code.as_str(),
        origin: problem.error.object.to_string(),
        field: problem.error.path.clone(),
        message: problem.error.reason.clone(),
        file: problem.file.display().to_string(),
        line: problem.line,
    }
}
