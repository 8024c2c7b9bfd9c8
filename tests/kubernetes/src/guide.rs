//! The guide, step by step.
//! In: a cluster with nothing on it. Out: the same cluster after the mesh came, did its work and went.
//! Steps build on each other, so they are one test; each has its sentence printed before it runs.

mod ingress;
mod join;
mod l4;
mod l7;
mod leave;
mod plaintext;
mod power;
mod probes;
pub(crate) mod routing;
mod uninstall;
mod upgrade;

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::application::Pod;
use crate::site::{Site, say};

/// Service, path and a word of the page.
const PAGE: &str = "http://productpage:9080/productpage";
const TITLE: &str = "Simple Bookstore App";

/// What later steps compare with.
#[derive(Debug, Default)]
struct Before {
    /// Network configuration of each node
    networks: Vec<Value>,
    /// Pods of the application
    pods: BTreeMap<String, Pod>,
}

/// Runs every step.
///
/// # Errors
/// The first expectation that did not hold, with what was seen.
pub fn run(site: &Site) -> Result<()> {
    let mut before = Before::default();
    let start = Instant::now();
    let mut step = |sentence: &str, body: &mut dyn FnMut(&mut Before) -> Result<()>| {
        say(&format!("{:>4}s {sentence}", start.elapsed().as_secs()));
        body(&mut before).with_context(|| sentence.to_owned())
    };
    step("the public samples run without a mesh", &mut |before| {
        plaintext::run(site, before)
    })?;
    step(
        "the mesh is installed and ready, and touches nothing",
        &mut |before| join::install(site, before),
    )?;
    step("a gateway leads to the application", &mut |_| {
        ingress::run(site)
    })?;
    step(
        "pods join by a label, without a restart or a lost connection",
        &mut |before| join::run(site, before),
    )?;
    step("a gateway leads into the mesh, too", &mut |_| {
        ingress::heads(site)
    })?;
    step(
        "a policy on identities holds without a waypoint",
        &mut |_| l4::run(site),
    )?;
    step(
        "parts of the mesh are replaced without a lost request",
        &mut |before| upgrade::run(site, before),
    )?;
    step("a waypoint and a policy on methods", &mut |_| l7::run(site))?;
    step("a route splits and matches requests", &mut |_| {
        routing::run(site)
    })?;
    step("capture stays while agents are killed", &mut |_| {
        upgrade::agents_die(site)
    })?;
    step(
        "probes of the kubelet go on where only mutual TLS is accepted",
        &mut |before| probes::run(site, before),
    )?;
    step(
        "a node that lost power comes back with its pods in the mesh",
        &mut |before| power::run(site, before),
    )?;
    step(
        "pods leave by a label, without a restart or a lost request",
        &mut |before| leave::run(site, before),
    )?;
    step(
        "the mesh goes, also from pods that are still in it, and leaves nothing",
        &mut |before| uninstall::run(site, before),
    )?;
    step("the samples go, and the cluster is as it was", &mut |_| {
        uninstall::samples(site)
    })?;
    say(&format!("{:>4}s all of it", start.elapsed().as_secs()));
    Ok(())
}
