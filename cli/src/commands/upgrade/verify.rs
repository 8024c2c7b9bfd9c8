//! Whether the data plane of one node is well, as it says itself and as the controller sees it.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::metrics::by_label;
use crate::target::{self, Place, Process, Target};

const INTERVAL: Duration = Duration::from_secs(1);
/// Reasons of refused connections that are the proxy's own doing; others are those of workloads, policies
/// and networks.
const OWN_DOING: [&str; 9] = [
    "handshake-budget",
    "h2",
    "loop",
    "no-certificate",
    "no-stream",
    "not-ready",
    "not-supported",
    "tls",
    "unknown-workload",
];

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Look {
    pods: usize,
    certificates: usize,
    /// Refused connections, by reason
    refused: BTreeMap<String, u64>,
    /// Failed steps and sessions of the agent
    failed: u64,
    /// Connections with mutual TLS
    opened: u64,
}

impl fmt::Display for Look {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "in sync, {} pods, {} certificates, {} connections with mutual TLS",
            self.pods, self.certificates, self.opened
        )
    }
}

/// Looks until everything is as it should be.
///
/// # Errors
/// What is not, when `patience` is over.
pub(super) async fn look(
    place: &Place,
    node: &str,
    proxy: &str,
    patience: Duration,
) -> Result<Look> {
    let start = Instant::now();
    loop {
        let seen = once(place, node, proxy).await;
        match seen {
            Ok(look) => return Ok(look),
            Err(error) if start.elapsed() >= patience => return Err(error),
            Err(_) => tokio::time::sleep(INTERVAL).await,
        }
    }
}

async fn once(place: &Place, node: &str, proxy: &str) -> Result<Look> {
    let target = target::open(place).await?;
    let process = find(&target, "ztunnel", node, proxy)?;
    let agent = find(&target, "agent", node, "")?;
    let mut look = Look::default();
    stream(&target, process).await?;
    let dump: Value = serde_json::from_str(&process.admin("/config_dump").await?)?;
    look.pods = dump["workloadState"]
        .as_object()
        .map_or(0, serde_json::Map::len);
    look.certificates = certificates(&dump)?;
    let metrics = process.metrics().await?;
    look.refused = by_label(&metrics, "ambit_connections_refused_total", "reason");
    let opened = "istio_tcp_connections_opened_total";
    let opened = by_label(&metrics, opened, "connection_security_policy");
    look.opened = opened.get("mutual_tls").copied().unwrap_or(0);
    pods(agent).await?;
    let metrics = agent.metrics().await?;
    let failed = |name, label| by_label(&metrics, name, label).values().sum::<u64>();
    look.failed = failed("ambit_enroll_failures_total", "")
        + failed("ambit_zds_sessions_failed_total", "reason");
    Ok(look)
}

fn find<'a>(target: &'a Target, role: &'a str, node: &str, name: &str) -> Result<&'a Process> {
    let of_node = |p: &&Process| p.node.as_deref() == Some(node);
    target
        .processes(role)
        .find(|p| of_node(p) && p.name.starts_with(name))
        .with_context(|| format!("no {role} on {node}"))
}

/// The controller has a stream to it and everything it sent was accepted.
async fn stream(target: &Target, process: &Process) -> Result<()> {
    let mut lacking = "there is no controller".to_owned();
    for controller in target.processes("controller") {
        let text = controller.admin("/debug/syncz").await?;
        let streams: Vec<Value> = serde_json::from_str(&text).context("/debug/syncz")?;
        let own = streams.iter().find(|stream| {
            let proxy = stream["proxy"].as_str().unwrap_or_default();
            proxy.split('.').next() == Some(process.name.as_str())
        });
        let Some(own) = own else {
            lacking = format!("{} has no stream to the controller", process.name);
            continue;
        };
        let stale: Vec<&str> = own["types"]
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(_, state)| *state != "SYNCED")
            .map(|(name, _)| name.as_str())
            .collect();
        ensure!(
            stale.is_empty(),
            "{} has not accepted {}",
            process.name,
            stale.join(", ")
        );
        return Ok(());
    }
    bail!(lacking)
}

/// Every certificate is there. Pure.
fn certificates(dump: &Value) -> Result<usize> {
    let all = dump["certificates"].as_array();
    let all: Vec<&Value> = all.into_iter().flatten().collect();
    for one in &all {
        ensure!(
            one["state"] == "Available",
            "the certificate of {} is {}",
            one["identity"],
            one["state"]
        );
    }
    Ok(all.len())
}

/// Every pod that should be in the mesh is, and is served.
async fn pods(agent: &Process) -> Result<()> {
    let view: Value = serde_json::from_str(&agent.admin("/debug/pods").await?)?;
    ensure!(
        view["proxies"].as_u64().unwrap_or(0) > 0,
        "no proxy is connected to {}",
        agent.name
    );
    for pod in view["pods"].as_array().into_iter().flatten() {
        let state = pod["state"].as_str().unwrap_or_default();
        let bad = state == "pending" || (state == "enrolled" && pod["served"] == false);
        if bad {
            let why = pod["error"].as_str().unwrap_or("not served by a proxy yet");
            bail!(
                "pod {}/{}: {why}",
                text(pod, "namespace"),
                text(pod, "name")
            );
        }
    }
    Ok(())
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

/// What happened between two looks.
///
/// # Errors
/// If the proxy or the agent failed at something that is its own doing. Pure.
pub(super) fn compare(before: &Look, after: &Look, carried: bool) -> Result<String> {
    let more = |reason: &str| {
        let now = after.refused.get(reason).copied().unwrap_or(0);
        now.saturating_sub(before.refused.get(reason).copied().unwrap_or(0))
    };
    let own: Vec<String> = OWN_DOING
        .iter()
        .map(|reason| (*reason, more(reason)))
        .filter(|(_, count)| *count > 0)
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    ensure!(own.is_empty(), "it refused connections: {}", own.join(", "));
    let failed = after.failed.saturating_sub(before.failed);
    ensure!(
        failed == 0,
        "the agent failed {failed} times at enrolling or serving a proxy"
    );
    let opened = after.opened.saturating_sub(before.opened);
    ensure!(
        !carried || opened > 0,
        "no connection with mutual TLS came through the new proxy"
    );
    let others: u64 = after
        .refused
        .keys()
        .filter(|reason| !OWN_DOING.contains(&reason.as_str()))
        .map(|reason| more(reason))
        .sum();
    Ok(format!(
        "{opened} connections with mutual TLS meanwhile, none failed by its own doing ({others} refused by policies, \
         workloads or networks)"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn look(refused: &[(&str, u64)], failed: u64, opened: u64) -> Look {
        Look {
            refused: refused.iter().map(|(r, n)| ((*r).to_owned(), *n)).collect(),
            failed,
            opened,
            ..Look::default()
        }
    }

    #[test]
    fn only_what_the_proxy_does_itself_speaks_against_it() {
        let before = look(&[("not-ready", 2)], 1, 5);
        let fine = look(&[("not-ready", 2), ("deny", 7)], 1, 9);
        let said = compare(&before, &fine, true).unwrap();
        assert!(
            said.starts_with("4 connections with mutual TLS") && said.contains("(7 refused"),
            "{said}"
        );
        let bad = look(&[("not-ready", 3)], 1, 9);
        assert_eq!(
            compare(&before, &bad, true).unwrap_err().to_string(),
            "it refused connections: 1 not-ready"
        );
        assert!(compare(&before, &look(&[], 2, 9), true).is_err());
        assert!(compare(&before, &look(&[], 1, 5), true).is_err());
        assert!(compare(&before, &look(&[], 1, 5), false).is_ok());
    }

    #[test]
    fn a_certificate_that_is_not_there_is_named() {
        let dump = json!({"certificates": [{"identity": "a", "state": "Available"}]});
        assert_eq!(certificates(&dump).unwrap(), 1);
        let dump = json!({"certificates": [{"identity": "a", "state": "Unavailable"}]});
        assert!(certificates(&dump).is_err());
    }
}
