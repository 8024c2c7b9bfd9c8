//! YAML in, decoded resources and statuses out.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod bindings;
mod entries_at_waypoints;
mod gateways;
mod http_routes;
mod ingress;
mod mesh;
mod peer_authentication;
mod policies;
mod reference_grants;
mod revisions;
mod service_entries;
mod services;
mod virtual_services;
mod waypoint_policies;
mod workloads;
