//! The commands of `ambit`, in the order in which a mesh lives.
//! In: a cluster with nothing on it. Out: the same cluster after a mesh was installed, looked at, upgraded node
//! by node, taken back, removed and installed again. Steps build on each other.

mod looks;
mod revisions;
mod upgrade;

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use crate::command::ended;
use crate::flow::ask;
use crate::mesh::install;
use crate::saw;
use crate::site::{Site, say};
use crate::wait::until;

/// A service behind a waypoint.
const DETAILS: &str = "http://details:9080/details/0";

/// A policy that only a waypoint can enforce.
const ONLY_GET: &str = "
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: only-get, namespace: default}
spec: {targetRefs: [{kind: Service, group: '', name: details}], rules: [{to: [{operation: {methods: [GET]}}]}]}
";

/// How a command ended.
struct Said {
    /// Exit code
    code: Option<i32>,
    /// Both outputs
    text: String,
}

/// Runs every step.
///
/// # Errors
/// The first expectation that did not hold, with what was seen.
pub fn run(site: &Site) -> Result<()> {
    let start = Instant::now();
    let step = |sentence: &str, body: &dyn Fn() -> Result<()>| {
        say(&format!("{:>4}s {sentence}", start.elapsed().as_secs()));
        body().with_context(|| sentence.to_owned())
    };
    step("a mesh is installed and is what was chosen", &|| {
        begin(site)
    })?;
    step("an application joins and gets a waypoint", &|| join(site))?;
    step("versions and objects are told apart", &|| {
        looks::versions(site)
    })?;
    step("analyze finds what is wrong and nothing else", &|| {
        looks::analyze(site)
    })?;
    step(
        "the API server refuses what analyze refuses, and classes are accepted",
        &|| looks::webhook(site),
    )?;
    step("a report holds what matters and no secrets", &|| {
        looks::report(site)
    })?;
    step("a dashboard is a page on this machine", &|| {
        looks::dashboard(site)
    })?;
    step(
        "two revisions run side by side, and a tag moves under a load",
        &|| revisions::beside(site),
    )?;
    step(
        "an upgrade tries one node first and loses no request",
        &|| upgrade::good(site),
    )?;
    step(
        "a bad upgrade stops at the first node and is taken back",
        &|| upgrade::bad(site),
    )?;
    step("what is not chosen any more goes", &|| upgrade::prune(site))?;
    step(
        "the mesh goes, and a new one finds the waypoint of the old",
        &|| again(site),
    )?;
    say(&format!("{:>4}s all of it", start.elapsed().as_secs()));
    Ok(())
}

fn begin(site: &Site) -> Result<()> {
    let checked = said(site, &["precheck"])?;
    ensure!(checked.code == Some(0), "precheck: {}", checked.text);
    let verified = said(site, &["verify-install"])?;
    ensure!(
        verified.code == Some(1),
        "nothing is installed: {}",
        verified.text
    );
    install(site)?;
    for command in ["verify-install", "status"] {
        let said = said(site, &[command])?;
        ensure!(said.code == Some(0), "{command}: {}", said.text);
    }
    saw("precheck, verify-install and status end with 0; verify-install before with 1");
    Ok(())
}

fn join(site: &Site) -> Result<()> {
    for manifest in ["bookinfo/platform/kube/bookinfo.yaml", "curl/curl.yaml"] {
        site.apply_sample("default", manifest)?;
    }
    for deployment in ["details-v1", "curl"] {
        let name = format!("deployment/{deployment}");
        site.kubectl(&["rollout", "status", &name, "--timeout=120s"])?;
    }
    site.kubectl(&[
        "label",
        "namespace",
        "default",
        "istio.io/dataplane-mode=ambient",
    ])?;
    let made = site.ambit(&["waypoint", "apply", "--enroll-namespace", "--wait"])?;
    saw(&made.trim().replace('\n', "; "));
    through_the_waypoint(site)
}

/// Requests that a waypoint let through and refused.
fn through_the_waypoint(site: &Site) -> Result<()> {
    site.apply(ONLY_GET)?;
    until("details by its waypoint", || {
        for (method, expected) in [("GET", "200"), ("DELETE", "403")] {
            let answer = ask(site, "default", DETAILS, &["-X", method])?;
            ensure!(answer.status == expected, "{method}: {answer:?}");
        }
        Ok(())
    })
}

fn again(site: &Site) -> Result<()> {
    let gone = site.ambit(&["uninstall", "--purge", "--yes"])?;
    saw(&gone.trim().replace('\n', "; "));
    ensure!(gone.contains("stays without a controller"), "{gone}");
    let left = said(site, &["verify-install"])?;
    ensure!(left.code == Some(1), "{}", left.text);
    let answer = ask(site, "default", DETAILS, &[])?;
    ensure!(answer.status == "200", "without a mesh: {answer:?}");
    install(site)?;
    let ready = site.ambit(&["waypoint", "status", "--wait"])?;
    saw(ready.lines().last().unwrap_or_default());
    // Kubelets bring a changed ConfigMap into pods once a minute or so.
    through_the_waypoint(site).or_else(|_| through_the_waypoint(site))?;
    saw("its waypoint serves with certificates of the new authority");
    Ok(())
}

/// Runs `ambit`, whatever its end.
fn said(site: &Site, arguments: &[&str]) -> Result<Said> {
    let output = ended(&mut site.ambit_command(arguments))?;
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Ok(Said {
        code: output.status.code(),
        text,
    })
}
