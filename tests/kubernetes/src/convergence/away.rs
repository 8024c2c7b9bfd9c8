//! Parts that are away: what runs goes on, what starts meanwhile is refused, and all is well afterwards.

use std::time::{Duration, Instant};

use ambit_cluster::NodeNumber;
use anyhow::{Context as _, Result, ensure};

use super::latecomers::rolled_out;
use super::{get, in_sync};
use crate::load;
use crate::saw;
use crate::site::Site;
use crate::wait::until;
use crate::wire::Wire;

const SYSTEM: &str = "--namespace=istio-system";
const CONTROLLER: &str = "deployment/ambit-controller";
const NOBODY: &str = include_str!("../manifests/later-policy.yaml");
/// How long the API server is away.
const AWAY: Duration = Duration::from_secs(120);
/// How long before its return a node proxy dies.
const LAST: Duration = Duration::from_secs(20);
/// What the API server says when nobody judges objects.
const WEBHOOK: &str = "failed calling webhook \"validation.ambit.io\"";
/// Programs in pods, by their command lines.
const NODE_PROXY: &str = "^/usr/local/bin/ztunnel";
const SERVER: &str = "^/usr/local/bin/bookinfo details --version=later";

/// Changes are made, and a node proxy dies, while no controller runs.
pub(super) fn controller(site: &Site, _: &Wire) -> Result<()> {
    let (_, second) = nodes(site)?;
    site.apply(NOBODY)?;
    until("nobody is let in", || {
        let answer = get(site, "later")?;
        ensure!(answer.status == "000", "{answer:?}");
        Ok(())
    })?;
    refusals_count(site)?;
    let mark = load::now()?;
    site.kubectl(&[SYSTEM, "scale", CONTROLLER, "--replicas=0"])?;
    until("no controller", || {
        let pods = site.get(&[SYSTEM, "pods", "--selector=app=ambit-controller"])?;
        ensure!(pods["items"] == serde_json::json!([]), "{}", pods["items"]);
        Ok(())
    })?;
    let unjudged = NOBODY.replacen("name: later", "name: unjudged", 1);
    let taken = site.apply(&unjudged);
    let refusal = taken.err().context("taken although nobody judged it")?;
    ensure!(refusal.to_string().contains(WEBHOOK), "{refusal}");
    site.delete(NOBODY)?;
    without_failures(site, mark, load::now()?)?;
    dies(site, second, NODE_PROXY)?;
    until("refusals by the proxy that knows nothing", || {
        let mark = load::now()?;
        refused_on(site, &second.to_string(), mark)
    })?;
    saw("what ran went on; a proxy that started meanwhile refuses");
    site.kubectl(&[SYSTEM, "scale", CONTROLLER, "--replicas=1"])?;
    site.kubectl(&[SYSTEM, "rollout", "status", CONTROLLER, "--timeout=60s"])?;
    load::flows(site)?;
    until("the end of the policy, of meanwhile, holds", || {
        let answer = get(site, "later")?;
        ensure!(answer.status == "200", "{answer:?}");
        Ok(())
    })?;
    saw("all streams are answered again, changes of meanwhile hold");
    in_sync(site)
}

/// Waits until the API server takes no object of the mesh that the controller has not judged.
fn refusals_count(site: &Site) -> Result<()> {
    let name = "validatingwebhookconfigurations/ambit-validator-istio-system";
    until("refusals of the webhook count", || {
        let registration = site.get(&[name])?;
        let policy = &registration["webhooks"][0]["failurePolicy"];
        ensure!(policy == "Fail", "failurePolicy is {policy}");
        Ok(())
    })
}

/// An application and, towards the end, a node proxy die while the API server does not answer.
pub(super) fn api_server(site: &Site, _: &Wire) -> Result<()> {
    let (first, second) = nodes(site)?;
    rolled_out(site, "deployment/later")?;
    let home = home(site, "later")?;
    let before = certificates(site, first)?;
    let mark = load::now()?;
    let frozen = Frozen::freeze(site, "kube-apiserver")?;
    let begun = Instant::now();
    dies(site, home, SERVER)?;
    while begun.elapsed() + LAST < AWAY {
        std::thread::sleep(Duration::from_millis(500));
    }
    let whole = load::now()?;
    dies(site, second, NODE_PROXY)?;
    while begun.elapsed() < AWAY {
        std::thread::sleep(Duration::from_millis(500));
    }
    drop(frozen);
    without_failures(site, mark, whole)?;
    load::flows(site)?;
    until("the application that died", || {
        let answer = get(site, "later")?;
        ensure!(answer.status == "200", "{answer:?}");
        Ok(())
    })?;
    saw("all streams are answered again, and so is the application that died meanwhile");
    until("certificates are renewed", || {
        let now = certificates(site, first)?;
        let old = now.lines().find(|serial| before.contains(serial));
        ensure!(!now.is_empty() && old.is_none(), "still {old:?}");
        Ok(())
    })?;
    saw("every certificate is a new one");
    in_sync(site)
}

/// Fails if a request that ended between the two failed.
fn without_failures(site: &Site, mark: u64, end: u64) -> Result<()> {
    let all = load::between(site, mark, end)?;
    for (stream, ended) in &all {
        ensure!(ended.failures.is_empty(), "{stream:?}: {ended:?}");
    }
    saw(&format!("meanwhile {}", load::summary(&all)));
    Ok(())
}

/// Fails unless everything fails that begins on a node.
fn refused_on(site: &Site, node: &str, mark: u64) -> Result<()> {
    for (stream, ended) in load::since(site, mark)? {
        ensure!(
            stream.node != node || ended.answered == 0,
            "{stream:?}: {ended:?}"
        );
    }
    Ok(())
}

/// Kills a program in a container, and waits until the kubelet has started it again.
fn dies(site: &Site, node: NodeNumber, program: &str) -> Result<()> {
    let find = format!("pgrep -f '{program}' || true");
    let before = site.on_node(node, &find)?;
    let pid = before.split_whitespace().next();
    let pid = pid.with_context(|| format!("{program} does not run on {node}"))?;
    site.on_node(node, &format!("kill -KILL {pid}"))?;
    until("it runs again", || {
        let now = site.on_node(node, &find)?;
        let another = now.split_whitespace().any(|one| !before.contains(one));
        ensure!(another, "{program} on {node}: {now:?}");
        Ok(())
    })
}

/// Serial numbers of the leaf certificates of a node's proxy, a line each.
fn certificates(site: &Site, node: NodeNumber) -> Result<String> {
    let node = node.to_string();
    let table = site.ambit(&["ztunnel-config", "certificate", "--node", &node])?;
    let leaves = table.lines().filter(|line| line.contains("Leaf"));
    let serials = leaves.filter_map(|line| line.split_whitespace().rev().nth(2));
    Ok(serials.map(|serial| format!("{serial}\n")).collect())
}

fn nodes(site: &Site) -> Result<(NodeNumber, NodeNumber)> {
    match site.nodes()?.as_slice() {
        [first, second] => Ok((*first, *second)),
        other => anyhow::bail!("two nodes, not {other:?}"),
    }
}

/// Where the pod of an application runs.
fn home(site: &Site, app: &str) -> Result<NodeNumber> {
    let selector = format!("--selector=app={app}");
    let pods = site.get(&[load::NAMESPACE, "pods", &selector])?;
    let name = pods["items"][0]["spec"]["nodeName"].as_str();
    let name = name.context("a pod on a node")?;
    let nodes = site.nodes()?;
    let found = nodes.into_iter().find(|node| node.to_string() == name);
    found.with_context(|| format!("no node {name}"))
}

/// A program of the control plane that does not run on; it does again when this is dropped.
struct Frozen {
    pid: nix::unistd::Pid,
}

impl Frozen {
    fn freeze(site: &Site, program: &str) -> Result<Self> {
        let pid = site.control_plane_program(program)?;
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGSTOP)
            .with_context(|| format!("stop {program}"))?;
        Ok(Self { pid })
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        // It is gone if this fails, and its cluster with it.
        let _ = nix::sys::signal::kill(self.pid, nix::sys::signal::Signal::SIGCONT);
    }
}
