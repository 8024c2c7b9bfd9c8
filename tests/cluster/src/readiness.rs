//! Waiting for the parts of a cluster.
//! In: a condition that says what it still lacks. Out: nothing, or after its time the last thing lacking.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use jiff::Timestamp;
use serde::Deserialize;

use crate::kubectl::{get, run};
use crate::names::{NodeNumber, Role};
use crate::state::Directory;

/// How long anything may take on a busy machine.
const LONGEST: Duration = Duration::from_secs(240);
const PAUSE: Duration = Duration::from_millis(200);

/// Asks again and again; `Err` is what is lacking.
pub(crate) fn until<T>(what: &str, mut condition: impl FnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + LONGEST;
    loop {
        match condition() {
            Ok(value) => return Ok(value),
            Err(lacking) if Instant::now() > deadline => {
                bail!("{what}: waited {LONGEST:?}; the last answer was: {lacking:#}")
            }
            Err(_) => std::thread::sleep(PAUSE),
        }
    }
}

/// Waits until the API server serves.
pub(crate) fn api(directory: &Directory) -> Result<()> {
    until("the API server", || {
        alive(directory, Role::ControlPlane)?;
        run(directory, &["get", "--raw", "/readyz"]).map(drop)
    })
}

fn alive(directory: &Directory, role: Role) -> Result<()> {
    if directory.running(role).is_none() {
        bail!(
            "the first process of {role} ended; see {}",
            directory.logs(role).join("init.log").display()
        );
    }
    Ok(())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Lease {
    spec: LeaseSpec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LeaseSpec {
    renew_time: Option<String>,
}

#[derive(Deserialize)]
struct Node {
    status: NodeStatus,
}

#[derive(Deserialize)]
struct NodeStatus {
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
}

/// Waits until a node is Ready and has said so after `since`: the status of a node that is starting
/// again is still the old one.
pub(crate) fn node(directory: &Directory, node: NodeNumber, since: Timestamp) -> Result<()> {
    until(&format!("node {node}"), || {
        alive(directory, Role::Node(node))?;
        let name = node.to_string();
        let lease: Lease = get(directory, &["lease", "--namespace=kube-node-lease", &name])?;
        let renewed = lease
            .spec
            .renew_time
            .and_then(|time| time.parse::<Timestamp>().ok());
        if renewed.is_none_or(|renewed| renewed < since) {
            bail!("no sign of life since it was started");
        }
        let found: Node = get(directory, &["node", &name])?;
        let ready = found
            .status
            .conditions
            .iter()
            .any(|c| c.kind == "Ready" && c.status == "True");
        if !ready {
            bail!(
                "it is not Ready; see {}",
                directory.logs(Role::Node(node)).display()
            );
        }
        Ok(())
    })
}

/// Waits until a Deployment or DaemonSet is rolled out.
pub(crate) fn rollout(directory: &Directory, namespace: &str, object: &str) -> Result<()> {
    let namespace = format!("--namespace={namespace}");
    let timeout = format!("--timeout={}s", LONGEST.as_secs());
    run(
        directory,
        &["rollout", "status", object, &namespace, &timeout],
    )
    .map(drop)
}
