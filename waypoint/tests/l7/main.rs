//! A waypoint in this process, reached by real HBONE from a client and sending to real HBONE and
//! plain back-ends, all on loopback; only the controller is replaced, by messages fed to the state.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod authorization;
mod backend;
mod behaviours;
mod client;
mod hostile;
mod ingress;
mod mesh;
mod pods;
mod resilience;
