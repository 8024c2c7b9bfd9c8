//! Events in an order that nobody would choose, and parts that are away.
//! In: a cluster with nothing on it. Out: an error if the mesh does not come to what the objects say, or if
//! anything that was encrypted can be read on the links between nodes, at any time.
//! Each step ends as it began, and its sentence is printed before it runs.

mod away;
mod bindings;
mod kinds;
mod latecomers;

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use crate::flow::{Answer, ask};
use crate::load;
use crate::mesh;
use crate::saw;
use crate::site::{Site, say};
use crate::wire::Wire;

/// What a step does.
type Step = fn(&Site, &Wire) -> Result<()>;

/// Namespace of the load.
const LOAD: &str = "load";
/// Node proxies end soon, and certificates live for minutes.
const VALUES: [&str; 3] = [
    "ztunnel.terminationGracePeriodSeconds=15",
    "controller.certTtl=5m",
    "controller.maxCertTtl=5m",
];

/// Runs every step.
///
/// # Errors
/// The first expectation that did not hold, with what was seen.
pub fn run(site: &Site) -> Result<()> {
    let start = Instant::now();
    let wire = Wire::watch(site)?;
    mesh::install_with(site, &VALUES)?;
    let step = |sentence: &str, body: Step| {
        say(&format!("{:>4}s {sentence}", start.elapsed().as_secs()));
        body(site, &wire).with_context(|| sentence.to_owned())
    };
    let steps: [(&str, Step); 8] = [
        (
            "pods are there before their namespace joins, services after their pods",
            latecomers::pods,
        ),
        (
            "a service and a waypoint come after those who name them",
            latecomers::waypoint,
        ),
        ("kinds of objects go and come back", kinds::go_and_return),
        (
            "a policy is there before its workload",
            latecomers::workload,
        ),
        (
            "a waypoint goes while a service is bound to it",
            bindings::waypoint_goes,
        ),
        ("the kind of waypoints goes", bindings::kind_goes),
        ("the controller is away", away::controller),
        ("the API server is away for two minutes", away::api_server),
    ];
    for (sentence, body) in steps {
        step(sentence, body)?;
        let tunnels = wire.stayed_silent().with_context(|| sentence.to_owned())?;
        saw(&format!("nothing readable between nodes, {tunnels}"));
    }
    in_sync(site)?;
    say(&format!("{:>4}s all of it", start.elapsed().as_secs()));
    Ok(())
}

/// Both node proxies and the waypoint have what the controller has.
fn in_sync(site: &Site) -> Result<()> {
    crate::wait::until("every proxy is in sync", || {
        let status = site.ambit(&["status"])?;
        ensure!(status.matches("in sync").count() == 3, "{status}");
        Ok(())
    })
}

/// One request by `curl` to a service of the load's namespace, with what the wire is watched for.
fn get(site: &Site, service: &str) -> Result<Answer> {
    let url = format!("http://{service}:9080/details/0?marker={}", load::MARKER);
    ask(site, LOAD, &url, &["-i"])
}

/// Whether the waypoint put its mark on an answer.
fn is_marked(answer: &Answer) -> bool {
    answer.status == "200" && answer.body.contains("x-rule: on")
}
