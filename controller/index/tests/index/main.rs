//! YAML in, decoded resources and statuses out.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod gateways;
mod http_routes;
mod ingress;
mod mesh;
mod peer_authentication;
mod policies;
mod services;
mod virtual_services;
mod waypoint_policies;
mod workloads;
