//! The mesh on a real cluster, by the means of its users: `kubectl`, `ambit` and HTTP.
//! In: nothing but root and a built Kubernetes. Out: a cluster of its own for each test, gone afterwards.
//! Every step says what it saw; an expectation that does not hold is an error with what was there instead.
//! Never here: a look into a part of the mesh that no user has.
//! Spec: Istio, "Getting started with ambient mode"; its manifests are fetched and applied unedited.
#![forbid(unsafe_code)]

mod application;
mod command;
mod flow;
pub mod guide;
mod site;
mod traces;
mod wait;

pub use site::{Site, can_run};

/// Says a line of a step.
fn saw(line: &str) {
    use std::io::Write as _;
    // Nobody is told if nobody can be.
    let _ = writeln!(std::io::stderr(), "   saw: {line}");
}
