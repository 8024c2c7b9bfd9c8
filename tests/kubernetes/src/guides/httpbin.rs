//! httpbin: time-outs and retries by a route, and its classic gateway.

use anyhow::{Result, ensure};

use super::setup::{available, namespace, waypoint};
use crate::door::Door;
use crate::saw;
use crate::site::Site;
use crate::tally::{exactly, statuses};
use crate::wait::until;

const NAMESPACE: &str = "web";
const APPLICATION: &str = "httpbin/httpbin.yaml";
const CLASSIC: &str = "httpbin/httpbin-gateway.yaml";
const PATIENCE: &str = include_str!("../manifests/guides/httpbin-patience.yaml");
const REQUESTS: u32 = 20;
/// One try and two more.
const TRIES: u32 = 3;

pub(super) fn run(site: &Site) -> Result<()> {
    namespace(site, NAMESPACE)?;
    site.apply_sample(NAMESPACE, APPLICATION)?;
    available(site, NAMESPACE)?;
    waypoint(site, NAMESPACE)?;
    until("httpbin", || {
        let seen = statuses(site, NAMESPACE, "", "http://httpbin:8000/get")?;
        ensure!(seen == exactly([("200", 1)]), "{seen:?}");
        Ok(())
    })?;
    site.apply_in(NAMESPACE, PATIENCE)?;
    until("the time-out", || {
        let seen = statuses(site, NAMESPACE, "", "http://httpbin:8000/delay/5")?;
        ensure!(seen == exactly([("504", 1)]), "{seen:?}");
        Ok(())
    })?;
    let late = statuses(site, NAMESPACE, "", "http://httpbin:8000/delay/5?[1-5]")?;
    let in_time = statuses(site, NAMESPACE, "", "http://httpbin:8000/delay/0?[1-5]")?;
    ensure!(
        late == exactly([("504", 5)]) && in_time == exactly([("200", 5)]),
        "{late:?} {in_time:?}"
    );
    saw(&format!(
        "a time-out of 1 s: {late:?} for what takes 5 s, {in_time:?} for the rest"
    ));
    retries(site)?;
    gateway(site)?;
    site.kubectl(&["delete", "namespace", NAMESPACE, "--wait=false"])
        .map(drop)
}

/// What fails is asked for again, what succeeds is not.
fn retries(site: &Site) -> Result<()> {
    for (status, tries) in [("503", TRIES), ("200", 1)] {
        let url = format!("http://httpbin:8000/status/{status}?counted=[1-{REQUESTS}]");
        let answers = statuses(site, NAMESPACE, "", &url)?;
        ensure!(answers == exactly([(status, REQUESTS)]), "{answers:?}");
        let words = format!("/status/{status}?counted=");
        let expected = usize::try_from(REQUESTS * tries)?;
        until("httpbin's log", || {
            let log = [
                "logs",
                "--namespace",
                NAMESPACE,
                "--tail=-1",
                "deploy/httpbin",
            ];
            let log = site.kubectl(&log)?;
            let lines = log.lines().filter(|line| line.contains(&words)).count();
            ensure!(lines == expected, "{lines} of {expected}");
            Ok(())
        })?;
    }
    saw(&format!(
        "{REQUESTS} requests that fail with 503 reach httpbin {} times, {REQUESTS} that do not {REQUESTS} times",
        REQUESTS * TRIES
    ));
    Ok(())
}

/// By the pods that `hello` has started.
fn gateway(site: &Site) -> Result<()> {
    site.apply_sample(NAMESPACE, CLASSIC)?;
    let door = Door::open(site, "istio-ingress", "istio-ingressgateway-istio")?;
    until("httpbin by its gateway", || {
        let answer = door.get("/status/418")?;
        ensure!(answer.ends_with("\n418"), "{answer}");
        Ok(())
    })?;
    let answer = door.get("/headers")?;
    ensure!(
        answer.ends_with("\n200") && answer.contains("X-Forwarded-For"),
        "{answer}"
    );
    saw("httpbin-gateway.yaml: /status/418 is 418, /headers shows X-Forwarded-For");
    Ok(())
}
