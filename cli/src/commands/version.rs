//! `ambit version`: this command and every proxy of the mesh, when there is one.

use crate::output::{self, Format, Verdict};
use crate::target::Target;
use anyhow::Result;
use serde::Serialize;

#[derive(Serialize)]
struct Versions {
    client: &'static str,
    processes: Vec<ProcessVersion>,
}

#[derive(Serialize)]
struct ProcessVersion {
    name: String,
    version: String,
}

/// Prints versions. Without a mesh only this command's.
pub(crate) async fn run(
    open: impl AsyncFnOnce() -> Result<Target>,
    format: Format,
) -> Result<Verdict> {
    let mut versions = Versions {
        client: env!("CARGO_PKG_VERSION"),
        processes: Vec::new(),
    };
    if let Ok(target) = open().await {
        for role in ["controller", "ztunnel", "agent", "waypoint"] {
            for process in target.processes(role) {
                let version = match process.metrics().await {
                    Ok(text) => build_tag(&text).unwrap_or_else(|| "unknown".to_owned()),
                    Err(e) => format!("did not answer: {e:#}"),
                };
                versions.processes.push(ProcessVersion {
                    name: process.name.clone(),
                    version,
                });
            }
        }
    }
    if format != Format::Table {
        output::value(&versions, format)?;
        return Ok(Verdict::Fine);
    }
    output::line(format_args!("client version: {}", versions.client));
    for p in &versions.processes {
        output::line(format_args!("{}: {}", p.name, p.version));
    }
    Ok(Verdict::Fine)
}

/// The `tag` label of `istio_build`.
fn build_tag(metrics: &str) -> Option<String> {
    let line = metrics.lines().find(|l| l.starts_with("istio_build{"))?;
    let (_, rest) = line.split_once("tag=\"")?;
    Some(rest.split('"').next()?.to_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_tag_is_read_from_the_build_metric() {
        let text = "# TYPE istio_build gauge\nistio_build{component=\"ztunnel\",tag=\"0.1.0\"} 1\n";
        assert_eq!(super::build_tag(text).as_deref(), Some("0.1.0"));
        assert_eq!(super::build_tag("istio_build 1"), None);
    }
}
