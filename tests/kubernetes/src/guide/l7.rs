//! A waypoint, and authorization by requests.

use anyhow::{Result, ensure};

use super::{PAGE, TITLE};
use crate::flow::ask;
use crate::mesh;
use crate::saw;
use crate::site::Site;
use crate::wait::until;

/// Of two nodes, the gateway and the waypoint.
const PROXIES: usize = 4;
const ONLY_GET: &str = include_str!("../manifests/only-get-by-curl.yaml");

pub(super) fn run(site: &Site) -> Result<()> {
    let said = site.ambit(&["waypoint", "apply", "--enroll-namespace", "--wait"])?;
    saw(&said.trim().replace('\n', "; "));
    let list = site.ambit(&["waypoint", "list"])?;
    ensure!(list.contains("True"), "{list}");
    let shown = site.kubectl(&["get", "gtw", "waypoint", "--no-headers"])?;
    let columns: Vec<&str> = shown.split_whitespace().collect();
    ensure!(
        matches!(columns[..], ["waypoint", "istio-waypoint", _, "True", _]),
        "kubectl get gtw waypoint: {shown}"
    );
    saw(shown.trim());
    mesh::in_sync(site, PROXIES)?;
    until("requests by the waypoint", || {
        let answer = ask(site, "default", PAGE, &["-X", "DELETE"])?;
        // The application itself knows no such method; without a policy it is its answer that comes.
        ensure!(
            answer.status != "000" && answer.status != "403",
            "{answer:?}"
        );
        Ok(())
    })?;
    site.apply(ONLY_GET)?;
    until("DELETE is refused", || {
        let answer = ask(site, "default", PAGE, &["-X", "DELETE"])?;
        ensure!(
            answer.status == "403" && answer.body == "RBAC: access denied",
            "{answer:?}"
        );
        Ok(())
    })?;
    let stranger = [
        "exec",
        "deploy/reviews-v1",
        "-c",
        "reviews",
        "--",
        "curl",
        "-s",
        PAGE,
    ];
    let stranger = site.kubectl(&stranger)?;
    ensure!(stranger == "RBAC: access denied", "{stranger}");
    let get = ask(site, "default", PAGE, &[])?;
    ensure!(get.status == "200" && get.body.contains(TITLE), "{get:?}");
    saw("GET 200, DELETE 403 `RBAC: access denied`; the same for GET by reviews");
    // What productpage itself asks goes on: details and reviews have no policy.
    for part in ["Book Details", "Reviewer1"] {
        ensure!(
            get.body.contains(part),
            "the page lacks {part}: {}",
            get.body
        );
    }
    Ok(())
}
