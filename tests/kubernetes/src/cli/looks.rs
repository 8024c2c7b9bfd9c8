//! Commands that only look.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::said;
use crate::command::{ended, output};
use crate::saw;
use crate::site::Site;
use crate::wait::until;

const WRONG: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: with-sidecars, labels: {istio-injection: enabled}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: nowhere, namespace: default}
spec: {hosts: [details], http: [{route: [{destination: {host: lost}}]}]}
";

pub(super) fn versions(site: &Site) -> Result<()> {
    let text = site.ambit(&["version"])?;
    for line in [
        "client version: ",
        "control plane version: ",
        "data plane version: ",
    ] {
        ensure!(text.contains(line), "{text}");
    }
    ensure!(
        text.contains("2 ztunnels") && text.contains("1 waypoint"),
        "{text}"
    );
    let json: Value = serde_json::from_str(&site.ambit(&["version", "-o", "json"])?)?;
    let proxies = json["dataPlaneVersion"].as_array().map_or(0, Vec::len);
    ensure!(proxies == 3, "{json}");
    let alone = site.ambit(&["version", "--remote=false"])?;
    ensure!(alone.lines().count() == 1, "{alone}");
    saw(&text.trim().replace('\n', "; "));
    Ok(())
}

pub(super) fn analyze(site: &Site) -> Result<()> {
    let fine = said(site, &["analyze"])?;
    ensure!(fine.code == Some(0), "{}", fine.text);
    site.apply(WRONG)?;
    let wrong = said(site, &["analyze"])?;
    ensure!(wrong.code == Some(79), "{:?}: {}", wrong.code, wrong.text);
    for part in [
        "Error [IST0101] (VirtualService default/nowhere) spec.http[0].route[0].destination.host:",
        "Warning [IST0102] (Namespace with-sidecars) metadata.labels.istio-injection:",
    ] {
        ensure!(wrong.text.contains(part), "no {part:?} in {}", wrong.text);
    }
    let hidden = said(
        site,
        &["analyze", "--suppress", "IST0101=VirtualService nowhere.*"],
    )?;
    ensure!(hidden.code == Some(0), "{}", hidden.text);
    site.delete(WRONG)?;
    saw("0 findings that fail, then IST0101 and IST0102 and exit code 79");
    Ok(())
}

/// What the API server must refuse, in the words of `analyze`.
const REFUSED: &str = "
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: twice, namespace: default}
spec: {host: details, subsets: [{name: v1, labels: {version: v1}}, {name: v1, labels: {version: v2}}]}
";
const WHY: &str = "spec.subsets[1].name: used by an earlier subset";

pub(super) fn webhook(site: &Site) -> Result<()> {
    until("refusals of the webhook count", || {
        let name = "validatingwebhookconfigurations/ambit-validator-istio-system";
        let registration = site.get(&[name])?;
        let policy = &registration["webhooks"][0]["failurePolicy"];
        ensure!(policy == "Fail", "failurePolicy is {policy}");
        Ok(())
    })?;
    let file = std::env::temp_dir().join(format!("ambit-refused-{}.yaml", std::process::id()));
    let path = file.to_str().context("a path in UTF-8")?;
    std::fs::write(&file, REFUSED)?;
    let analyzed = said(site, &["analyze", path]);
    let applied = ended(&mut site.kubectl_command(&["apply", "-f", path])?);
    std::fs::remove_file(&file)?;
    let (analyzed, applied) = (analyzed?, applied?);
    let refusal = String::from_utf8_lossy(&applied.stderr).into_owned();
    ensure!(!applied.status.success(), "the API server took it");
    for text in [&analyzed.text, &refusal] {
        ensure!(text.contains(WHY), "no {WHY:?} in {text}");
    }
    saw(refusal.trim());
    let accepted = ["wait", "--for=condition=Accepted", "--timeout=60s"];
    let classes = ["gatewayclass", "istio", "ambit", "istio-waypoint"];
    site.kubectl(&[&accepted[..], &classes].concat())?;
    Ok(())
}

pub(super) fn report(site: &Site) -> Result<()> {
    let file = std::env::temp_dir().join(format!("ambit-report-{}.tar.gz", std::process::id()));
    let path = file.to_str().context("a path in UTF-8")?;
    let told = said(site, &["bug-report", "--filename", path])?;
    let listed = output(Command::new("tar").args(["tzf", path]));
    let everything = output(Command::new("tar").args(["xzOf", path]));
    std::fs::remove_file(&file)?;
    ensure!(told.code == Some(0), "{}", told.text);
    let (listed, everything) = (listed?, everything?);
    for part in [
        "ambit-bug-report/about.txt",
        "ambit-bug-report/status.json",
        "ambit-bug-report/analysis.json",
        "ambit-bug-report/objects/gateway.gateway.networking.k8s.io.yaml",
        "ambit-bug-report/cluster/node.core.yaml",
        "/config_dump.json",
        "ambit-bug-report/summary.txt",
    ] {
        ensure!(listed.contains(part), "no {part} in {listed}");
    }
    for role in [
        "ztunnel-",
        "ambit-cni-node-",
        "ambit-controller-",
        "waypoint-",
    ] {
        let log = listed
            .lines()
            .any(|l| l.contains("/logs/") && l.contains(role));
        ensure!(log, "no log of {role} in {listed}");
    }
    ensure!(
        !everything.contains("PRIVATE KEY") && !everything.contains("kind: Secret\n"),
        "a key or a Secret is in the report"
    );
    saw(told.text.lines().next().unwrap_or_default());
    Ok(())
}

/// A running command, ended with the value.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(super) fn dashboard(site: &Site) -> Result<()> {
    let mut command = site.ambit_command(&["dashboard", "ztunnel", "n1", "--browser=false"]);
    let mut running = Running(
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("start a dashboard")?,
    );
    let mut lines = BufReader::new(running.0.stdout.take().context("a pipe")?).lines();
    let url = lines.next().context("a URL")??;
    let page = output(
        site.beside_kubectl("curl")
            .args(["-sS", "--fail", "--max-time", "30"])
            .arg(format!("{url}config_dump")),
    )?;
    let dump: Value = serde_json::from_str(&page)?;
    ensure!(dump["workloads"].is_array(), "{page}");
    let pid = i32::try_from(running.0.id())?;
    kill(Pid::from_raw(pid), Signal::SIGINT)?;
    let status = running.0.wait()?;
    ensure!(status.success(), "after ctrl-C: {status}");
    saw(&format!(
        "{url} is the proxy's admin page, and goes with ctrl-C"
    ));
    let missing = said(site, &["dashboard", "grafana", "--browser=false"])?;
    ensure!(
        missing.code == Some(2) && missing.text.contains("no pod of grafana runs"),
        "{}",
        missing.text
    );
    Ok(())
}
