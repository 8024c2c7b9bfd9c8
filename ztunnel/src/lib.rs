//! Node proxy: captured sockets in, HBONE out, and the reverse; L4 policy, DNS, metrics.
//! `app` wires the parts; `worker` is one data-plane thread; `capture`, `state` and `certificates`
//! run on the control runtime and reach the workers by commands and shared snapshots only.
//! Must not: know of HTTP beyond CONNECT; decide (that is `ambit-routing`); keep configuration on disk.
//! Spec: Istio's ztunnel (ports, environment, ZDS, HBONE, metrics, access log).
#![forbid(unsafe_code)]

pub mod accept;
pub mod admin;
pub mod app;
pub mod baggage;
pub mod capture;
pub mod certificates;
pub mod config;
pub mod dns;
pub mod flow;
pub mod gather;
pub mod inbound;
pub mod metrics;
pub mod outbound;
pub mod outcome;
pub mod registry;
pub mod relayed;
pub mod state;
pub mod worker;

#[cfg(test)]
mod fixtures;
