//! Plain manifests: one file per component, with the charts' defaults.
//! Out: `deploy/manifests/<component>/manifest.yaml` and a kustomization beside it.

use std::path::Path;

use anyhow::Result;
use serde_json::json;

use super::Files;
use super::plan::COMPONENTS;
use super::render::{HEADER, Helm, NAMESPACE, Request, nothing, yaml};

pub(super) const DIRECTORY: &str = "deploy/manifests";

/// Every file.
///
/// # Errors
/// If helm refuses a chart.
pub(super) fn generate(helm: &Helm) -> Result<Files> {
    let mut files = Files::new();
    for chart in COMPONENTS {
        let request = Request {
            chart,
            namespace: NAMESPACE,
            values: &nothing(),
            checked: true,
        };
        let dir = Path::new(DIRECTORY).join(chart);
        files.insert(dir.join("manifest.yaml"), yaml(&helm.objects(&request)?)?);
        let kustomization = json!({
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": ["manifest.yaml"],
        });
        let text = format!("{HEADER}{}", serde_saphyr::to_string(&kustomization)?);
        files.insert(dir.join("kustomization.yaml"), text);
    }
    Ok(files)
}
