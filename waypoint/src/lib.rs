//! L7 proxy: HBONE in, or plaintext HTTP on the listeners of an ingress gateway; routed requests out by
//! HBONE.
//! In: tunnels on port 15008, connections on plaintext listeners, routes and workloads by xDS, its own certificate. Out: requests to
//! endpoints with its own identity, metrics, access lines.
//! Each worker owns its connections; the control runtime (`app`) feeds the state and the certificate.
//! Must not happen here: a route decided otherwise than by `ambit-routing`, plaintext to an endpoint
//! that has a tunnel.
//! Spec: ARCHITECTURE.md; Istio waypoints.
#![forbid(unsafe_code)]

pub mod admin;
pub mod app;
pub mod config;
mod destination;
mod downstream;
mod filters;
mod http;
mod ingress;
pub mod leaving;
pub mod limits;
pub mod listen;
pub mod me;
mod message;
pub mod metrics;
mod names;
mod outcome;
mod places;
mod record;
pub mod state;
mod stream_io;
mod tcp;
mod upstream;
mod watch;
pub mod worker;
