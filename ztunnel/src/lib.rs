//! Node proxy: captured sockets in, HBONE out, and the reverse; L4 policy, DNS, metrics.
//! `app` wires the parts; `thread` is one data-plane thread, `worker` what its connections use; `capture`, `state` and `certificates`
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
pub mod names;
pub mod outbound;
pub mod outcome;
pub mod pod;
pub mod registry;
pub mod relayed;
pub mod sockets;
pub mod state;
pub mod thread;
pub mod tunnels;
pub mod worker;

#[cfg(test)]
mod fixtures;
