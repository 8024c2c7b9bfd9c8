//! `ambit bug-report`: an archive of what somebody else needs to understand a problem.
//! In: the cluster. Out: one `.tar.gz` of bounded size. A part that cannot be had is listed in the archive
//! and does not end it. Secrets are never read; keys and tokens in other texts are blotted out.

mod archive;
mod logs;
mod objects;
mod redact;

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressStyle};

use crate::cluster::Cluster;
use crate::commands::{analyze, status};
use crate::output::{self, Verdict};
use crate::target::{self, Place, Process, Target};
use crate::versions::{OWN, ROLES, running};
use archive::Archive;

/// Options of `ambit bug-report`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Namespaces whose objects and pods are included; all if not given; may be given several times
    #[arg(long, value_name = "NAMESPACE", value_delimiter = ',')]
    include: Vec<String>,
    /// Namespaces that are left out
    #[arg(
        long,
        value_name = "NAMESPACE",
        value_delimiter = ',',
        default_value = "kube-system,kube-public,kube-node-lease"
    )]
    exclude: Vec<String>,
    /// How far back logs go
    #[arg(long, default_value = "1h", value_parser = crate::duration::parse, value_name = "DURATION")]
    since: Duration,
    /// File to write
    #[arg(
        short,
        long = "filename",
        default_value = "bug-report.tar.gz",
        value_name = "FILE"
    )]
    filename: PathBuf,
    /// Largest size of everything before compression, in MiB
    #[arg(long, default_value_t = 300, value_name = "MIB")]
    max_size: u64,
}

impl Args {
    fn takes(&self, namespace: &str) -> bool {
        let included = self.include.is_empty() || self.include.iter().any(|n| n == namespace);
        included && !self.exclude.iter().any(|n| n == namespace)
    }
}

/// Writes the archive.
///
/// # Errors
/// If the file cannot be written or there is no cluster.
pub(crate) async fn run(args: &Args, place: &Place) -> Result<Verdict> {
    let cluster = place.cluster.connect().await?;
    let file = File::create(&args.filename).with_context(|| args.filename.display().to_string())?;
    let mut report = Report {
        args,
        place,
        cluster,
        archive: Archive::new(file, args.max_size << 20),
        bar: bar()?,
    };
    report.overview().await?;
    report.objects().await?;
    report.processes().await?;
    report.logs().await?;
    let Report { archive, bar, .. } = report;
    bar.finish_and_clear();
    let done = archive.finish()?;
    output::line(format_args!(
        "{}: {} files, {} KiB",
        args.filename.display(),
        done.files,
        std::fs::metadata(&args.filename)?.len() / 1024
    ));
    for failure in &done.failures {
        output::line(format_args!("missing: {failure}"));
    }
    output::line(
        "Secrets were not read; keys and tokens are blotted out. Look it through before you send it.",
    );
    Ok(Verdict::Fine)
}

fn bar() -> Result<ProgressBar> {
    let style = ProgressStyle::with_template("{spinner} {msg}")
        .context("the template of progress lines")?;
    let bar = ProgressBar::new_spinner().with_style(style);
    bar.enable_steady_tick(Duration::from_millis(120));
    Ok(bar)
}

/// One run.
struct Report<'a> {
    args: &'a Args,
    place: &'a Place,
    cluster: Cluster,
    archive: Archive<File>,
    bar: ProgressBar,
}

impl Report<'_> {
    /// What one looks at first.
    async fn overview(&mut self) -> Result<()> {
        self.bar.set_message("versions, status, analysis");
        let arguments: Vec<String> = std::env::args().collect();
        let server = self.cluster.client.apiserver_version().await;
        let server = server
            .map(|info| info.git_version)
            .unwrap_or_else(|e| format!("unknown: {e}"));
        let about = format!(
            "ambit {OWN}\nkubernetes {server}\nAPI server {}\ncommand {}\n",
            self.cluster.server,
            arguments.join(" ")
        );
        self.archive.text("about.txt", &about)?;
        match target::open(self.place).await {
            Ok(target) => {
                self.archive
                    .json("versions.json", &running(&target).await)?;
                self.archive
                    .json("status.json", &status::collect(&target).await)?;
            }
            Err(e) => self.archive.failed("versions and status", &e),
        }
        match analyze::of_cluster(&self.place.cluster, &self.place.namespace).await {
            Ok(findings) => self.archive.json("analysis.json", &findings),
            Err(e) => {
                self.archive.failed("analysis", &e);
                Ok(())
            }
        }
    }

    /// Debug pages and metrics.
    async fn processes(&mut self) -> Result<()> {
        let target = match target::open(self.place).await {
            Ok(target) => target,
            Err(e) => {
                self.archive.failed("processes", &e);
                return Ok(());
            }
        };
        for process in in_order(&target) {
            let folder = format!("processes/{}", process.name.replace('/', "_"));
            self.bar.set_message(process.name.clone());
            for page in pages(&process.role) {
                let file = page.trim_start_matches("/debug/").trim_start_matches('/');
                let path = format!("{folder}/{file}.json");
                match process.admin(page).await {
                    Ok(text) => self.archive.text(&path, &text)?,
                    Err(e) => self.archive.failed(&path, &e),
                }
            }
            let path = format!("{folder}/metrics.txt");
            match process.metrics().await {
                Ok(text) => self.archive.text(&path, &text)?,
                Err(e) => self.archive.failed(&path, &e),
            }
        }
        Ok(())
    }
}

fn in_order(target: &Target) -> impl Iterator<Item = &Process> {
    ROLES.iter().flat_map(|role| target.processes(role))
}

/// Pages of a role.
fn pages(role: &str) -> &'static [&'static str] {
    match role {
        "controller" => &[
            "/debug/syncz",
            "/debug/connections",
            "/debug/configz",
            "/debug/ambientz",
        ],
        "agent" => &["/debug/pods"],
        "ztunnel" => &["/config_dump", "/connections"],
        _ => &["/config_dump"],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn namespaces_are_chosen_by_name() {
        let args = |list: &[&str]| {
            let words = std::iter::once("x").chain(list.iter().copied());
            Command::parse_from(words).args
        };
        let all = args(&[]);
        assert!(all.takes("default") && !all.takes("kube-system"));
        let some = args(&["--include", "a,b", "--exclude", "b"]);
        assert!(some.takes("a") && !some.takes("b") && !some.takes("c"));
    }
}
