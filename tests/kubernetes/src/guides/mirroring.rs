//! "Mirroring": a copy of every request goes to another version, whose answer nobody sees.

use anyhow::{Result, ensure};

use super::setup::{available, namespace, waypoint};
use crate::saw;
use crate::site::Site;
use crate::tally::{exactly, statuses};
use crate::wait::until;

const NAMESPACE: &str = "mirror";
const VERSIONS: &str = include_str!("../manifests/guides/httpbin-versions.yaml");
const ALL_V1: &str = include_str!("../manifests/guides/httpbin-v1.yaml");
const MIRRORED: &str = include_str!("../manifests/guides/httpbin-mirrored.yaml");
const REQUESTS: u32 = 50;

pub(super) fn run(site: &Site) -> Result<()> {
    namespace(site, NAMESPACE)?;
    site.apply_in(NAMESPACE, VERSIONS)?;
    available(site, NAMESPACE)?;
    waypoint(site, NAMESPACE)?;
    site.apply_in(NAMESPACE, ALL_V1)?;
    until("nothing for v2", || {
        let before = seen(site, "httpbin-v2", "try")?;
        requests(site, "try", 10)?;
        let after = seen(site, "httpbin-v2", "try")?;
        ensure!(after == before, "{before}, then {after}");
        Ok(())
    })?;
    requests(site, "plain", REQUESTS)?;
    both(site, "plain", (REQUESTS, 0))?;
    site.apply_in(NAMESPACE, MIRRORED)?;
    until("the mirror", || {
        requests(site, "try-again", 1)?;
        ensure!(seen(site, "httpbin-v2", "try-again")? > 0, "nothing yet");
        Ok(())
    })?;
    requests(site, "copied", REQUESTS)?;
    both(site, "copied", (REQUESTS, REQUESTS))?;
    saw(&format!(
        "{REQUESTS} requests: all at v1, none at v2; with a mirror {REQUESTS} at each, all answered once"
    ));
    site.kubectl(&["delete", "namespace", NAMESPACE, "--wait=false"])
        .map(drop)
}

/// Requests that are known by a word, all answered.
fn requests(site: &Site, word: &str, count: u32) -> Result<()> {
    let url = format!("http://httpbin:8000/headers?{word}=[1-{count}]");
    let answers = statuses(site, NAMESPACE, "", &url)?;
    ensure!(answers == exactly([("200", count)]), "{answers:?}");
    Ok(())
}

/// Waits until the versions have logged so many.
fn both(site: &Site, word: &str, expected: (u32, u32)) -> Result<()> {
    until("the versions' logs", || {
        let found = (
            seen(site, "httpbin-v1", word)?,
            seen(site, "httpbin-v2", word)?,
        );
        ensure!(found == expected, "{found:?} instead of {expected:?}");
        Ok(())
    })
}

/// How many requests with a word a version has logged.
fn seen(site: &Site, version: &str, word: &str) -> Result<u32> {
    let deployment = format!("deploy/{version}");
    let log = site.kubectl(&["logs", "--namespace", NAMESPACE, "--tail=-1", &deployment])?;
    let words = format!("/headers?{word}=");
    let lines = log.lines().filter(|line| line.contains(&words)).count();
    Ok(u32::try_from(lines)?)
}
