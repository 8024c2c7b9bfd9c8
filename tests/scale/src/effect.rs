//! From a change at the API server to its effect on traffic, on a cluster with a mesh and two nodes.
//! In: a cluster with the mesh installed. Out: lines. Measured from the API's answer to the first answer of
//! a request that shows the effect; requests are made without a pause, one after the other.

mod requests;

use crate::api::Api;
use crate::figures::{Durations, ms, say};
use ambit_cluster::{Directory, kubectl};
use anyhow::{Context as _, Result, ensure};
use requests::Requests;
use serde_json::{Value, json};
use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// From a change to its effect, 99 of 100 times.
const GOAL: Duration = Duration::from_millis(300);
const SCENE: &str = include_str!("effect/scene.yaml");
const POLICIES: &str = "/apis/security.istio.io/v1/namespaces/effect/authorizationpolicies";
const ROUTE: &str = "/apis/networking.istio.io/v1/namespaces/effect/virtualservices/routed";

/// Options.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Changes of each kind
    #[arg(long, default_value_t = 50)]
    changes: usize,
}

/// Measures policies at node proxies and routes at a waypoint.
pub(crate) async fn run(args: &Args, directory: &Directory) -> Result<()> {
    let api = Api::connect(&directory.admin()).await?;
    set(directory)?;
    say("from the API's answer to the first request that shows it:");
    let mut direct = Requests::start(directory, "direct")?;
    direct.until("200", |line| line.starts_with("200")).await?;
    let (mut comes, mut goes) = (Durations::default(), Durations::default());
    for _ in 0..args.changes {
        api.create(POLICIES, &deny()).await?;
        let since = Instant::now();
        let seen = direct
            .until("the refusal", |line| line.starts_with("000"))
            .await?;
        comes.add(seen - since);
        api.delete(&format!("{POLICIES}/bench")).await?;
        let since = Instant::now();
        let seen = direct
            .until("the permission", |line| line.starts_with("200"))
            .await?;
        goes.add(seen - since);
    }
    drop(direct);
    let mut routed = Requests::start(directory, "routed")?;
    routed.until("200", |line| line.starts_with("200")).await?;
    let mut routes = Durations::default();
    for n in 1..=args.changes {
        let wanted = format!("200 n{n}");
        let route = json!({"spec": {"http": [{"route": [{"destination": {"host": "routed"}}],
            "headers": {"response": {"set": {"x-bench": format!("n{n}")}}}}]}});
        api.patch(ROUTE, &route).await?;
        let since = Instant::now();
        let seen = routed.until(&wanted, |line| line == wanted).await?;
        routes.add(seen - since);
    }
    row("AuthorizationPolicy DENY made, at a node proxy", &comes);
    row("AuthorizationPolicy DENY deleted", &goes);
    row("VirtualService changed, at a waypoint", &routes);
    Ok(())
}

fn deny() -> Value {
    json!({"apiVersion": "security.istio.io/v1", "kind": "AuthorizationPolicy",
        "metadata": {"name": "bench", "namespace": "effect"},
        "spec": {"selector": {"matchLabels": {"app": "helloworld"}}, "action": "DENY",
            "rules": [{"to": [{"operation": {"ports": ["5000"]}}]}]}})
}

fn row(title: &str, all: &Durations) {
    let p99 = all.percentile(99);
    let verdict = if p99 < GOAL { "met" } else { "missed" };
    say(&format!(
        "  {title:<48} p50 {:>9}  p99 {:>9}  ({} times; goal {}: {verdict})",
        ms(all.percentile(50)),
        ms(p99),
        all.count(),
        ms(GOAL)
    ));
}

/// Makes the scene and waits until it stands.
fn set(directory: &Directory) -> Result<()> {
    let mut apply = kubectl(directory)?
        .args(["apply", "-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .context("start kubectl")?;
    let mut input = apply.stdin.take().context("its input")?;
    input.write_all(SCENE.as_bytes()).context("tell kubectl")?;
    drop(input);
    ensure!(
        apply.wait().context("kubectl apply")?.success(),
        "the scene is refused"
    );
    for what in ["deployment/curl", "deployment/helloworld"] {
        wait(directory, &["rollout", "status", what, "--timeout=120s"])?;
    }
    wait(
        directory,
        &[
            "wait",
            "--for=condition=Programmed",
            "gateway/waypoint",
            "--timeout=120s",
        ],
    )
}

fn wait(directory: &Directory, arguments: &[&str]) -> Result<()> {
    let done = kubectl(directory)?
        .arg("--namespace=effect")
        .args(arguments)
        .stdout(Stdio::null())
        .status()
        .context("start kubectl")?;
    ensure!(done.success(), "kubectl {}", arguments.join(" "));
    Ok(())
}
