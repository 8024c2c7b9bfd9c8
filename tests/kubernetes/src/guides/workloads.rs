//! Kinds of workloads: what ends, what stays out, what has a name of its own.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::setup::{available, namespace};
use crate::flow::ask;
use crate::saw;
use crate::site::Site;
use crate::wait::until;

pub(super) const NAMESPACE: &str = "trade";
const HERE: &str = "--namespace=trade";
const APPLICATION: &str = "httpbin/httpbin.yaml";
const WORKLOADS: &str = include_str!("../manifests/guides/workloads.yaml");
/// Namespaces whose pods are never in the mesh.
const EXCLUDED: [&str; 2] = ["kube-system", "istio-system"];

pub(super) fn run(site: &Site) -> Result<()> {
    namespace(site, NAMESPACE)?;
    site.apply_sample(NAMESPACE, APPLICATION)?;
    available(site, NAMESPACE)?;
    for name in EXCLUDED {
        let label = "istio.io/dataplane-mode=ambient";
        site.kubectl(&["label", "namespace", name, "--overwrite", label])?;
    }
    site.apply_in(NAMESPACE, WORKLOADS)?;
    jobs(site)?;
    peers(site)?;
    outsiders(site)?;
    site.kubectl(&[
        "wait",
        HERE,
        "cronjob/tick",
        "--for=jsonpath={.status.lastSuccessfulTime}",
        "--timeout=150s",
    ])?;
    site.kubectl(&["delete", HERE, "cronjob/tick"])?;
    saw("a CronJob's run has succeeded");
    site.kubectl(&[
        "label",
        "namespace",
        EXCLUDED[0],
        "istio.io/dataplane-mode-",
    ])?;
    let none = "istio.io/dataplane-mode=none";
    site.kubectl(&["label", "namespace", EXCLUDED[1], "--overwrite", none])
        .map(drop)
}

/// Exit codes are the programs' own; what they asked for went through the mesh with their identity.
fn jobs(site: &Site) -> Result<()> {
    for (job, condition) in [("done", "Complete"), ("broken", "Failed")] {
        let name = format!("job/{job}");
        let condition = format!("--for=condition={condition}");
        site.kubectl(&["wait", HERE, &condition, &name, "--timeout=90s"])?;
    }
    let pods = pods(site, HERE)?;
    let codes: Vec<(&str, Option<i64>)> = pods
        .iter()
        .filter(|(name, _)| name.starts_with("done-") || name.starts_with("broken-"))
        .map(|(name, pod)| {
            let ended = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
            (name.as_str(), ended["exitCode"].as_i64())
        })
        .collect();
    let fine = codes
        .iter()
        .filter(|(name, code)| name.starts_with("done-") && *code == Some(0));
    let broken = codes
        .iter()
        .filter(|(name, code)| name.starts_with("broken-") && *code == Some(7));
    ensure!(
        codes.len() == 4 && fine.count() == 3 && broken.count() == 1,
        "exit codes {codes:?}"
    );
    // A line for each init container and each main container.
    until("log lines of the jobs' connections", || {
        let lines = connections(site, "done-")?;
        ensure!(lines == 6, "{lines}");
        Ok(())
    })?;
    saw(
        "a Job's three pods with init containers ended with 0, another's with 7; six connections by HBONE",
    );
    Ok(())
}

/// Log lines of the node proxies: outgoing connections of pods whose name begins so, with both identities.
fn connections(site: &Site, pods: &str) -> Result<usize> {
    let log = [
        "logs",
        "--namespace=istio-system",
        "--selector=app=ztunnel",
        "--tail=-1",
    ];
    let log = site.kubectl(&log)?;
    let words = [
        format!("src.workload=\"{pods}"),
        r#"src.identity="spiffe://cluster.local/ns/trade/sa/default""#.to_owned(),
        r#"dst.identity="spiffe://cluster.local/ns/trade/sa/httpbin""#.to_owned(),
        r#"direction="outbound""#.to_owned(),
    ];
    let lines = log
        .lines()
        .filter(|line| words.iter().all(|word| line.contains(word)));
    Ok(lines.count())
}

/// Pods of a StatefulSet, each by its own name.
fn peers(site: &Site) -> Result<()> {
    site.kubectl(&[
        "rollout",
        "status",
        HERE,
        "statefulset/peers",
        "--timeout=90s",
    ])?;
    for peer in ["peers-0", "peers-1"] {
        let url = format!("http://{peer}.peers:8080/hostname");
        let answer = ask(site, NAMESPACE, &url, &[])?;
        ensure!(
            answer.status == "200" && answer.body.contains(peer),
            "{answer:?}"
        );
    }
    let answer = ask(site, NAMESPACE, "http://peers:8080/hostname", &[])?;
    ensure!(answer.body.contains("peers-"), "{answer:?}");
    let pods = pods(site, HERE)?;
    for peer in ["peers-0", "peers-1"] {
        let found = pods.get(peer).map(redirection);
        ensure!(found == Some(Some("enabled")), "{peer}: {found:?}");
    }
    saw("peers-0.peers and peers-1.peers answer, in the mesh");
    Ok(())
}

/// Who is never captured reaches pods of the mesh in plaintext. Peers joined after the labels were set, on every
/// node, so the agents have seen them.
fn outsiders(site: &Site) -> Result<()> {
    for pod in ["on-the-node", "opted-out"] {
        let name = format!("pod/{pod}");
        site.kubectl(&[
            "wait",
            HERE,
            "--for=condition=Ready",
            &name,
            "--timeout=60s",
        ])?;
        let words = [
            "exec",
            HERE,
            pod,
            "--",
            "curl",
            "-s",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
        ];
        let url = "http://httpbin.trade:8000/get";
        let status = site.kubectl(&[&words[..], &[url]].concat())?;
        ensure!(status == "200", "{pod}: {status}");
    }
    let here = pods(site, HERE)?;
    let mut out: Vec<(String, Value)> = here
        .into_iter()
        .filter(|(name, _)| name == "on-the-node" || name == "opted-out")
        .collect();
    for namespace in EXCLUDED {
        out.extend(pods(site, &format!("--namespace={namespace}"))?);
    }
    for (name, pod) in &out {
        ensure!(redirection(pod).is_none(), "{name}: {:?}", redirection(pod));
    }
    let names: Vec<&String> = out.iter().map(|(name, _)| name).collect();
    let table = site.ambit(&["ztunnel-config", "workload"])?;
    for line in table.lines() {
        let captured = line.split_whitespace().last() == Some("HBONE");
        let one_of_them = names.iter().any(|name| line.contains(name.as_str()));
        ensure!(!(captured && one_of_them), "{line}");
    }
    saw(&format!(
        "{} pods stay out: of the host's network, opted out, of {}",
        out.len(),
        EXCLUDED.join(" and ")
    ));
    Ok(())
}

fn pods(site: &Site, namespace: &str) -> Result<BTreeMap<String, Value>> {
    let list = site.get(&["pods", namespace])?;
    let items = list["items"].as_array().context("a list of pods")?;
    let named = |pod: &Value| Some((pod["metadata"]["name"].as_str()?.to_owned(), pod.clone()));
    Ok(items.iter().filter_map(named).collect())
}

fn redirection(pod: &Value) -> Option<&str> {
    pod["metadata"]["annotations"]["ambient.istio.io/redirection"].as_str()
}
