//! Golden files: what helm makes of each chart, by default and with every value changed.
//! In: `deploy/charts/golden/values/<chart>-<case>.yaml`. Out: `deploy/charts/golden/<chart>[-<case>].yaml`.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::Value;

use super::Files;
use super::plan::CHARTS;
use super::render::{Helm, NAMESPACE, Request, nothing};
use crate::workspace;

const DIRECTORY: &str = "deploy/charts/golden";

/// Every golden file.
///
/// # Errors
/// If helm refuses a case.
pub(super) fn generate(helm: &Helm) -> Result<Files> {
    let mut files = Files::new();
    let mut render = |chart: &str, name: &str, mut values: Value| -> Result<()> {
        // They are checked beside their source already, and are long.
        if chart == "base" {
            values["crds"] = false.into();
        }
        let request = Request {
            chart,
            namespace: NAMESPACE,
            values: &values,
            checked: true,
        };
        let text = helm
            .template(&request)
            .with_context(|| format!("case {name}"))?;
        files.insert(Path::new(DIRECTORY).join(format!("{name}.yaml")), text);
        Ok(())
    };
    for chart in CHARTS {
        render(chart, chart, nothing())?;
    }
    let dir = workspace::root().join(DIRECTORY).join("values");
    for entry in std::fs::read_dir(&dir).with_context(|| dir.display().to_string())? {
        let path = entry?.path();
        let name = path
            .file_stem()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let chart = name.split('-').next().unwrap_or(&name).to_owned();
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let values = serde_saphyr::from_str(&text).with_context(|| path.display().to_string())?;
        render(&chart, &name, values)?;
    }
    Ok(files)
}
