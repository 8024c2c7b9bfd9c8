//! The application before the mesh.

use anyhow::{Result, ensure};

use super::{Before, PAGE, TITLE};
use crate::application::pods;
use crate::flow::ask;
use crate::saw;
use crate::site::Site;
use crate::traces::network;
use crate::wait::until;

/// Of the directory of samples.
pub(super) const MANIFESTS: [&str; 3] = [
    "bookinfo/platform/kube/bookinfo.yaml",
    "bookinfo/platform/kube/bookinfo-versions.yaml",
    "curl/curl.yaml",
];

pub(super) fn run(site: &Site, before: &mut Before) -> Result<()> {
    for manifest in MANIFESTS {
        site.apply_sample("default", manifest)?;
    }
    site.kubectl(&[
        "wait",
        "--for=condition=Available",
        "deployment",
        "--all",
        "--timeout=120s",
    ])?;
    before.pods = pods(site)?;
    ensure!(before.pods.len() == 7, "pods: {:?}", before.pods.keys());
    // Nodes learn of a Service some time after its pods are Ready.
    let page = until("the page", || {
        let page = ask(site, "default", PAGE, &[])?;
        ensure!(
            page.status == "200" && page.body.contains(TITLE),
            "{page:?}"
        );
        Ok(page)
    })?;
    saw(&format!(
        "{} pods Ready, the page has status {}",
        before.pods.len(),
        page.status
    ));
    for node in site.nodes()? {
        before.networks.push(network(site, node)?);
    }
    Ok(())
}
