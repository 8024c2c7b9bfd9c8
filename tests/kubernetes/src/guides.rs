//! Guides beside the first one: traffic management, kinds of workloads, metrics, waypoints of all kinds.
//! In: a cluster with nothing on it. Out: the mesh and the public samples on it, after each guide's claims held.
//! Steps leave what later ones do not expect; each has its sentence printed before it runs.
//! Spec: Istio, "Tasks / Traffic management", "Ambient / User guides".

mod fault_injection;
mod hello;
mod httpbin;
mod mirroring;
mod request_routing;
mod setup;
mod shifting;
mod tcp;
mod telemetry;
mod timeouts;
mod waypoints;
mod workloads;

use std::time::Instant;

use anyhow::{Context as _, Result};

use crate::site::{Site, say};

/// Images of samples that the first guide does not need.
pub const SAMPLES: [&str; 4] = ["helloworld-v1", "helloworld-v2", "httpbin", "tcp-echo"];

/// The application's page.
const PAGE: &str = "http://productpage:9080/productpage";

type Step = (&'static str, fn(&Site) -> Result<()>);

const STEPS: [Step; 14] = [
    ("the mesh, bookinfo and a waypoint", setup::run),
    ("request routing", request_routing::run),
    ("fault injection", fault_injection::run),
    ("traffic shifting", shifting::run),
    ("request time-outs", timeouts::run),
    ("mirroring", mirroring::run),
    (
        "helloworld by weight, and by both kinds of gateways",
        hello::run,
    ),
    (
        "httpbin with time-outs, retries and its gateway",
        httpbin::run,
    ),
    ("TCP through a waypoint", tcp::run),
    (
        "pods that end, that stay out, and with names of their own",
        workloads::run,
    ),
    (
        "metrics and access logs of node proxies",
        telemetry::node_proxies,
    ),
    ("metrics and access logs of waypoints", telemetry::waypoint),
    ("waypoints of Services and pods", waypoints::finer),
    ("a waypoint for another namespace", waypoints::shared),
];

/// Runs every step.
///
/// # Errors
/// The first expectation that did not hold, with what was seen.
pub fn run(site: &Site) -> Result<()> {
    let start = Instant::now();
    for (sentence, step) in STEPS {
        say(&format!("{:>4}s {sentence}", start.elapsed().as_secs()));
        step(site).with_context(|| sentence.to_owned())?;
    }
    say(&format!("{:>4}s all of it", start.elapsed().as_secs()));
    Ok(())
}
