//! The mesh on a real cluster, by the means of its users: `kubectl`, `ambit` and HTTP.
//! In: nothing but root and a built Kubernetes. Out: a cluster of its own for each test, gone afterwards.
//! Every step says what it saw; an expectation that does not hold is an error with what was there instead.
//! Never here: a look into a part of the mesh that no user has.
//! Spec: Istio, "Getting started with ambient mode"; its manifests are fetched and applied unedited.
#![forbid(unsafe_code)]

mod application;
pub mod cli;
mod command;
pub mod convergence;
mod door;
mod flow;
pub mod gateways;
pub mod guide;
pub mod guides;
pub mod kustomize;
mod load;
mod mesh;
mod metrics;
pub mod outside;
pub mod rolling;
mod site;
mod tally;
mod traces;
mod wait;
mod wire;

pub use site::{Site, can_run};

/// Says a line of a step.
fn saw(line: &str) {
    use std::io::Write as _;
    // Nobody is told if nobody can be.
    let _ = writeln!(std::io::stderr(), "   saw: {line}");
}
