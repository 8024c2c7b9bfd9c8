//! `ambit status`: one screen that says whether the mesh is well.
//! Joins the controller's view of its streams with what each proxy says of itself, and names who
//! did not answer.

mod authority;

use crate::output::{self, Format, Verdict};
use crate::target::{Process, Target};
use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// What `-o json` prints.
#[derive(Serialize)]
pub(crate) struct Status {
    controller: Controller,
    proxies: Vec<Proxy>,
    agents: Vec<Agent>,
}

#[derive(Serialize)]
struct Controller {
    answers: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
    /// Node id of each xDS stream → types and whether the last push was acknowledged.
    streams: BTreeMap<String, Value>,
    /// Its certificate authority, as `/debug/authority` has it; `null` where it does not say.
    authority: Value,
}

#[derive(Serialize)]
struct Proxy {
    name: String,
    role: String,
    node: String,
    pods: usize,
    certificates: usize,
    workloads: usize,
    services: usize,
    policies: usize,
    connections: usize,
    /// `in sync`, `no stream`, or why it did not answer.
    state: String,
    well: bool,
}

#[derive(Serialize)]
struct Agent {
    name: String,
    node: String,
    /// Flows that left or entered an enrolled pod without the proxy, by reason.
    bypassed: BTreeMap<String, u64>,
    /// Connections that pods had before they were captured, and still have.
    older_connections: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

/// Prints the status. [`Verdict::Wrong`] when something does not answer or is not in sync.
pub(crate) async fn run(target: &Target, format: Format) -> Result<Verdict> {
    let status = collect(target).await;
    let worries = authority::worries(&status.controller.authority, Timestamp::now());
    let well = status.controller.answers
        && worries.is_empty()
        && status.proxies.iter().all(|p| p.well)
        && status.agents.iter().all(|a| a.error.is_none());
    if format == Format::Table {
        print(&status, &worries);
    } else {
        output::value(&status, format)?;
    }
    Ok(if well { Verdict::Fine } else { Verdict::Wrong })
}

/// Asks everybody.
pub(crate) async fn collect(target: &Target) -> Status {
    let controller = controller(target).await;
    let mut proxies = Vec::new();
    let names: Vec<&str> = target
        .processes("ztunnel")
        .map(|p| p.name.as_str())
        .collect();
    for role in ["ztunnel", "waypoint"] {
        for process in target.processes(role) {
            proxies.push(proxy(process, &controller, &names).await);
        }
    }
    let mut agents = Vec::new();
    for process in target.processes("agent") {
        agents.push(agent(process).await);
    }
    Status {
        controller,
        proxies,
        agents,
    }
}

/// Every replica has streams of its own.
async fn controller(target: &Target) -> Controller {
    let mut all = Controller {
        answers: true,
        error: None,
        streams: BTreeMap::new(),
        authority: Value::Null,
    };
    let mut errors = Vec::new();
    for process in target.processes("controller") {
        match replica(process).await {
            Ok((streams, authority)) => {
                all.streams.extend(streams);
                if all.authority.is_null() {
                    all.authority = authority;
                }
            }
            Err(e) => errors.push(format!("{e:#}")),
        }
    }
    if target.processes("controller").next().is_none() {
        errors.push("there is none".to_owned());
    }
    if !errors.is_empty() {
        all.answers = false;
        all.error = Some(errors.join("; "));
    }
    all
}

/// Streams of one, and its certificate authority.
async fn replica(process: &Process) -> Result<(BTreeMap<String, Value>, Value)> {
    let text = process.admin("/debug/syncz").await?;
    let found = serde_json::from_str::<Value>(&text).context("its /debug/syncz is not JSON")?;
    // Another version may not have it.
    let authority = process.admin("/debug/authority").await.ok();
    let authority = authority.and_then(|text| serde_json::from_str(&text).ok());
    Ok((streams(found), authority.unwrap_or(Value::Null)))
}

impl Controller {
    /// A waypoint is known by its pod, `<name>.<namespace>`, a node proxy by that or, where it does not
    /// say it, by its node.
    fn stream_of(&self, process: &Process, others: &[&str]) -> Option<&Value> {
        let mut all = self.streams.iter();
        let found = all.find(|(proxy, stream)| match process.role.as_str() {
            "ztunnel" => {
                let name = proxy.split('.').next().unwrap_or(proxy);
                let node = stream.get("node").and_then(Value::as_str);
                let here = node.is_some() && node == process.node.as_deref();
                here && (name == process.name || !others.contains(&name))
            }
            _ => process
                .name
                .split_once('/')
                .is_some_and(|(namespace, name)| **proxy == format!("{name}.{namespace}")),
        });
        found.map(|(_, stream)| stream)
    }
}

/// `/debug/syncz` is a list with one object per stream, named by `proxy`.
fn streams(value: Value) -> BTreeMap<String, Value> {
    let Value::Array(list) = value else {
        return BTreeMap::new();
    };
    list.into_iter()
        .filter_map(|v| Some((v.get("proxy")?.as_str()?.to_owned(), v)))
        .collect()
}

async fn proxy(process: &Process, controller: &Controller, others: &[&str]) -> Proxy {
    let dump = process.admin("/config_dump").await;
    // A waypoint's dump has other parts than a node proxy's; only their sizes matter here.
    let dump = dump.and_then(|text| Ok(serde_json::from_str::<Value>(&text)?));
    let (dump, error) = match dump {
        Ok(dump) => (dump, None),
        Err(e) => (Value::Null, Some(format!("{e:#}"))),
    };
    let count = |part: &str| match &dump[part] {
        Value::Array(list) => list.len(),
        Value::Object(map) => map.len(),
        _ => 0,
    };
    let stream = controller.stream_of(process, others);
    let other_network = stream.and_then(|s| s["other_network"].as_str());
    let (state, well) = match (error, controller.answers, stream) {
        (Some(e), ..) => (format!("did not answer: {e}"), false),
        (None, false, _) => ("works from memory".to_owned(), true),
        (None, true, Some(_)) => match other_network {
            None => ("in sync".to_owned(), true),
            Some(network) => (format!("in sync, but says network {network:?}"), false),
        },
        (None, true, None) => ("no stream to the controller".to_owned(), false),
    };
    Proxy {
        name: process.name.clone(),
        role: process.role.clone(),
        node: process.node.clone().unwrap_or_default(),
        pods: count("workloadState"),
        certificates: count("certificates"),
        workloads: count("workloads"),
        services: count("services"),
        policies: count("policies"),
        connections: connections(&dump["workloadState"]),
        state,
        well,
    }
}

fn connections(pods: &Value) -> usize {
    let of =
        |pod: &Value, direction: &str| pod["connections"][direction].as_array().map_or(0, Vec::len);
    let pods = pods
        .as_object()
        .into_iter()
        .flat_map(serde_json::Map::values);
    pods.map(|pod| of(pod, "inbound") + of(pod, "outbound"))
        .sum()
}

async fn agent(process: &Process) -> Agent {
    let (text, error) = match process.metrics().await {
        Ok(text) => (text, None),
        Err(e) => (String::new(), Some(format!("{e:#}"))),
    };
    Agent {
        name: process.name.clone(),
        node: process.node.clone().unwrap_or_default(),
        bypassed: bypassed(&text),
        older_connections: older_connections(&text),
        error,
    }
}

fn older_connections(metrics: &str) -> u64 {
    let mut lines = metrics.lines();
    let value = lines.find_map(|line| line.strip_prefix("ambit_preexisting_connections "));
    value
        .and_then(|value| value.trim().parse().ok())
        .unwrap_or(0)
}

/// `ambit_capture_decisions_total{decision="…"}` lines whose decision let a flow past the proxy.
fn bypassed(metrics: &str) -> BTreeMap<String, u64> {
    metrics
        .lines()
        .filter_map(|line| {
            let rest = line.strip_prefix("ambit_capture_decisions_total{")?;
            let (labels, count) = rest.split_once("} ")?;
            let decision = labels.split("decision=\"").nth(1)?.split('"').next()?;
            let count = count.trim().parse().ok().filter(|n| *n > 0)?;
            decision
                .contains("bypass")
                .then(|| (decision.to_owned(), count))
        })
        .collect()
}

fn print(status: &Status, worries: &[String]) {
    match &status.controller.error {
        None => output::line(format_args!(
            "controller: answers, {} streams",
            status.controller.streams.len()
        )),
        Some(e) => output::line(format_args!("controller: does not answer ({e})")),
    }
    if let Some(line) = authority::summary(&status.controller.authority) {
        output::line(format_args!("certificate authority: {line}"));
    }
    for worry in worries {
        output::line(format_args!("certificate authority: WARNING: {worry}"));
    }
    output::line("");
    output::table(
        &[
            "PROXY",
            "NODE",
            "PODS",
            "CERTS",
            "WORKLOADS",
            "SERVICES",
            "POLICIES",
            "CONNECTIONS",
            "STATE",
        ],
        status.proxies.iter().map(|p| {
            vec![
                p.name.clone(),
                p.node.clone(),
                p.pods.to_string(),
                p.certificates.to_string(),
                p.workloads.to_string(),
                p.services.to_string(),
                p.policies.to_string(),
                p.connections.to_string(),
                p.state.clone(),
            ]
        }),
    );
    output::line("");
    output::table(
        &["AGENT", "NODE", "BYPASSED FLOWS"],
        status.agents.iter().map(|a| {
            let mut flows: Vec<_> = a.bypassed.iter().map(|(k, v)| format!("{k} {v}")).collect();
            if a.older_connections > 0 {
                flows.push(format!("older than capture {}", a.older_connections));
            }
            let text = match &a.error {
                Some(e) => format!("did not answer: {e}"),
                None if flows.is_empty() => "none".to_owned(),
                None => flows.join(", "),
            };
            vec![a.name.clone(), a.node.clone(), text]
        }),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_decisions_that_let_a_flow_past_count_as_bypassed() {
        let text = "ambit_capture_decisions_total{decision=\"captured\"} 5\n\
                    ambit_capture_decisions_total{decision=\"dns_bypassed\"} 2\n\
                    ambit_capture_decisions_total{decision=\"udp_bypassed\"} 0\n";
        assert_eq!(bypassed(text), [("dns_bypassed".to_owned(), 2)].into());
    }

    #[test]
    fn streams_are_named_by_their_proxy() {
        let value = serde_json::json!([{"proxy": "ztunnel-node-1.istio-system", "x": 1}, {"y": 2}]);
        assert_eq!(streams(value).len(), 1);
    }

    #[test]
    fn of_two_proxies_on_a_node_each_has_its_own_stream() {
        let stream = serde_json::json!([{"proxy": "ztunnel-a.istio-system", "node": "n1"}]);
        let controller = Controller {
            answers: true,
            error: None,
            streams: streams(stream),
            authority: Value::Null,
        };
        let has = |name: &str| {
            let process = Process::for_test(name, "ztunnel", "n1");
            controller
                .stream_of(&process, &["ztunnel-a", "ztunnel-b"])
                .is_some()
        };
        assert!(has("ztunnel-a") && !has("ztunnel-b"));
        // In a lab the process is called otherwise than the proxy.
        let process = Process::for_test("ztunnel-n1", "ztunnel", "n1");
        assert!(controller.stream_of(&process, &["ztunnel-n1"]).is_some());
    }
}
