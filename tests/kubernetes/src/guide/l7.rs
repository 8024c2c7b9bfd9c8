//! A waypoint, and authorization by requests.

use anyhow::{Result, ensure};

use super::{PAGE, TITLE};
use crate::flow::ask;
use crate::saw;
use crate::site::Site;
use crate::wait::until;

const ONLY_GET: &str = include_str!("../manifests/only-get-by-curl.yaml");

pub(super) fn run(site: &Site) -> Result<()> {
    let said = site.ambit(&["waypoint", "apply", "--enroll-namespace", "--wait"])?;
    saw(&said.trim().replace('\n', "; "));
    let list = site.ambit(&["waypoint", "list"])?;
    ensure!(list.contains("True"), "{list}");
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
    let get = ask(site, "default", PAGE, &[])?;
    ensure!(get.status == "200" && get.body.contains(TITLE), "{get:?}");
    saw("GET 200, DELETE 403 `RBAC: access denied`");
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
