//! A gateway with overlays under traffic, then nodes that its DaemonSets leave.
//! In: a cluster. Out: nothing, or the first step that did not hold.

mod departure;
mod overlays;

use anyhow::Result;

use crate::site::Site;
use crate::{mesh, saw};

/// Images beside those of the getting-started guide.
pub const SAMPLES: [&str; 1] = ["httpbin"];
/// Of the directory of public samples.
const MANIFESTS: [&str; 2] = ["httpbin/httpbin.yaml", "curl/curl.yaml"];
/// Label of nodes that have the mesh.
const IN: &str = "mesh=in";

/// Runs every step.
///
/// # Errors
/// The first step that does not hold.
pub fn run(site: &Site) -> Result<()> {
    site.kubectl(&["label", "node", "--all", IN])?;
    mesh::install_with(
        site,
        &["cni.nodeSelector.mesh=in", "ztunnel.nodeSelector.mesh=in"],
    )?;
    let mode = "istio.io/dataplane-mode=ambient";
    site.kubectl(&["label", "namespace", "default", mode])?;
    for manifest in MANIFESTS {
        site.apply_sample("default", manifest)?;
    }
    let all = ["wait", "--for=condition=Available", "deployment", "--all"];
    site.kubectl(&[&all[..], &["--timeout=120s"]].concat())?;
    saw("the mesh is on nodes with the label mesh=in");
    overlays::run(site)?;
    departure::run(site)
}
