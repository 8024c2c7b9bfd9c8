//! What guides take for granted.

use anyhow::{Result, ensure};

use crate::flow::ask;
use crate::saw;
use crate::site::Site;
use crate::wait::until;
use crate::{application, mesh};

/// Of the directory of samples.
const BOOKINFO: [&str; 3] = [
    "bookinfo/platform/kube/bookinfo.yaml",
    "bookinfo/platform/kube/bookinfo-versions.yaml",
    "curl/curl.yaml",
];

pub(super) fn run(site: &Site) -> Result<()> {
    mesh::install(site)?;
    site.kubectl(&[
        "label",
        "namespace",
        "default",
        "istio.io/dataplane-mode=ambient",
    ])?;
    for manifest in BOOKINFO {
        site.apply_sample("default", manifest)?;
    }
    available(site, "default")?;
    let pods = application::pods(site)?;
    ensure!(
        pods.len() == 7
            && pods
                .values()
                .all(|pod| pod.redirection.as_deref() == Some("enabled")),
        "pods that started in the mesh: {pods:?}"
    );
    saw("7 pods started in the mesh, annotated ambient.istio.io/redirection: enabled");
    waypoint(site, "default")?;
    until("the page", || {
        let page = ask(site, "default", super::PAGE, &[])?;
        ensure!(page.status == "200", "{page:?}");
        Ok(())
    })
}

/// A namespace in the mesh.
pub(super) fn namespace(site: &Site, name: &str) -> Result<()> {
    site.kubectl(&["create", "namespace", name])?;
    site.kubectl(&[
        "label",
        "namespace",
        name,
        "istio.io/dataplane-mode=ambient",
    ])?;
    site.apply_sample(name, BOOKINFO[2]).map(drop)
}

/// Waits for all Deployments of a namespace.
pub(super) fn available(site: &Site, namespace: &str) -> Result<()> {
    let namespace = format!("--namespace={namespace}");
    let what = [
        "--for=condition=Available",
        "deployment",
        "--all",
        "--timeout=120s",
    ];
    site.kubectl(&[&["wait", &namespace], &what[..]].concat())
        .map(drop)
}

/// A waypoint for the Services of a namespace.
pub(super) fn waypoint(site: &Site, namespace: &str) -> Result<()> {
    let words = [
        "waypoint",
        "apply",
        "-n",
        namespace,
        "--enroll-namespace",
        "--wait",
    ];
    let said = site.ambit(&words)?;
    saw(&said.trim().replace('\n', "; "));
    Ok(())
}
