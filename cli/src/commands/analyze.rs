//! `ambit analyze`: reads a cluster, files, or a cluster as it would be with files in it, exactly as the
//! controller does, and prints every finding. Nothing is applied.

mod files;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ambit_crds::{Object, Severity};
use ambit_source::{Batch, Change, Problem, kubernetes};
use anyhow::{Context, Result, ensure};

use crate::analysis::{self, Finding, Level, MESSAGES, Suppression, World};
use crate::cluster::Chosen;
use crate::output::{self, Format, Verdict};

/// How long a cluster may take to list its objects.
const PATIENCE: Duration = Duration::from_secs(60);

/// Options of `ambit analyze`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Files or directories of YAML, or `-`, instead of the cluster
    #[arg(value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// The same; may be given several times
    #[arg(short, long = "filename", value_name = "PATH")]
    filename: Vec<PathBuf>,
    /// Look at the cluster as it would be with the files in it
    #[arg(short = 'k', long, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value = "false", value_name = "BOOL", action = clap::ArgAction::Set)]
    use_kube: bool,
    /// Only findings about this namespace
    #[arg(short, long, value_name = "NAME", conflicts_with = "all_namespaces")]
    namespace: Option<String>,
    /// Findings about all namespaces (which is what there is without --namespace)
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Findings of this level or a higher one fail
    #[arg(long, value_enum, default_value_t = Level::Error, value_name = "LEVEL")]
    failure_threshold: Level,
    /// Findings of this level or a higher one are printed
    #[arg(long, value_enum, default_value_t = Level::Info, value_name = "LEVEL")]
    output_threshold: Level,
    /// Let warnings fail, too
    #[arg(long)]
    strict: bool,
    /// Leave out a code of some objects, as in "IST0102=Namespace dev-*"; may be given several times
    #[arg(short = 'S', long, value_name = "CODE=OBJECT")]
    suppress: Vec<Suppression>,
    /// Print every message there is, and look at nothing
    #[arg(short = 'L', long)]
    list_analyzers: bool,
}

/// Checks. [`Verdict::Found`] when something fails.
pub(crate) async fn run(
    args: &Args,
    place: &Chosen,
    mesh: &str,
    format: Format,
) -> Result<Verdict> {
    if args.list_analyzers {
        list();
        return Ok(Verdict::Fine);
    }
    let paths: Vec<&PathBuf> = args.paths.iter().chain(&args.filename).collect();
    let mut batches = Vec::new();
    if paths.is_empty() || args.use_kube {
        batches.push(read_cluster(place).await?);
    }
    if !paths.is_empty() {
        batches.extend(files::read(&paths)?);
    }
    let (objects, mut findings) = examine(batches, mesh);
    if let Some(namespace) = &args.namespace {
        let known = findings.iter().any(|f| f.namespace == *namespace);
        ensure!(
            known || objects > 0,
            "there is nothing in namespace {namespace}"
        );
        findings.retain(|f| f.namespace == *namespace);
    }
    findings.retain(|f| !args.suppress.iter().any(|s| s.covers(f)));
    let threshold = if args.strict {
        Level::Warning
    } else {
        args.failure_threshold
    };
    let failed = findings.iter().any(|f| f.level >= threshold);
    findings.retain(|f| f.level >= args.output_threshold);
    print(&findings, objects, format)?;
    Ok(if failed {
        Verdict::Found
    } else {
        Verdict::Fine
    })
}

/// Everything there is to say about a cluster.
///
/// # Errors
/// If it cannot be read.
pub(crate) async fn of_cluster(place: &Chosen, mesh: &str) -> Result<Vec<Finding>> {
    let batch = read_cluster(place).await?;
    Ok(examine(vec![batch], mesh).1)
}

/// What each object has by itself, then what they have together; how many objects there are.
fn examine(batches: Vec<Batch>, mesh: &str) -> (usize, Vec<Finding>) {
    let mut findings = Vec::new();
    let mut objects: Vec<Arc<Object>> = Vec::new();
    for batch in batches {
        findings.extend(batch.problems.iter().map(finding));
        objects.extend(batch.changes.into_iter().filter_map(|change| match change {
            Change::Upsert(object) => Some(object),
            Change::Delete(_) => None,
        }));
    }
    let world = World::new(objects, mesh);
    findings.extend(analysis::analyze(&world));
    findings.sort_by(|a, b| (&b.level, &a.origin, a.code).cmp(&(&a.level, &b.origin, b.code)));
    (world.len(), findings)
}

fn print(findings: &[Finding], objects: usize, format: Format) -> Result<()> {
    if format != Format::Table {
        return output::value(&findings, format);
    }
    for f in findings {
        let place = match (f.file.as_str(), f.line) {
            ("", _) => String::new(),
            (file, 0) => format!(" {file}"),
            (file, line) => format!(" {file}:{line}"),
        };
        let field = match f.field.as_str() {
            "" => String::new(),
            field => format!(" {field}:"),
        };
        let fix = match f.fix.as_str() {
            "" => String::new(),
            fix => format!(" (to do: {fix})"),
        };
        let level = format!("{:?}", f.level);
        output::line(format_args!(
            "{level} [{}] ({}{place}){field} {}{fix}",
            f.code, f.origin, f.message
        ));
    }
    output::line(match findings.len() {
        0 => format!("No validation issues found in {objects} objects."),
        n => format!("{n} issues found in {objects} objects."),
    });
    Ok(())
}

fn list() {
    let rows = MESSAGES.iter().map(|m| {
        let level = format!("{:?}", m.level);
        vec![
            m.code.to_owned(),
            m.name.to_owned(),
            level,
            m.about.to_owned(),
        ]
    });
    output::table(&["CODE", "NAME", "LEVEL", "WHAT"], rows);
}

/// Everything the controller would read.
async fn read_cluster(place: &Chosen) -> Result<Batch> {
    let cluster = place.connect().await?;
    let mut watch = kubernetes::watch(cluster.client, kubernetes::Kinds::Mesh);
    let first = tokio::time::timeout(PATIENCE, watch.next())
        .await
        .with_context(|| format!("the objects of {} within {PATIENCE:?}", cluster.server))?;
    first.context("the objects of the cluster")
}

fn finding(problem: &Problem) -> Finding {
    let object = &problem.error.object;
    let in_cluster = problem.line == 0;
    Finding {
        level: match problem.error.severity {
            Severity::Error => Level::Error,
            Severity::Warning => Level::Warning,
        },
        code: problem.error.code.as_str(),
        origin: object.to_string(),
        field: problem.error.path.clone(),
        message: problem.error.reason.clone(),
        fix: String::new(),
        namespace: match object.namespace.as_str() {
            "" => object.name.clone(),
            namespace => namespace.to_owned(),
        },
        file: match in_cluster {
            true => String::new(),
            false => problem.file.display().to_string(),
        },
        line: problem.line,
    }
}
