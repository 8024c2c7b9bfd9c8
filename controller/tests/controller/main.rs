//! A whole controller on a temporary directory, spoken to over real TLS.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bench;
mod certificates;
mod discovery;
mod documents;
mod issuer;
mod rotation;
mod waypoint;
