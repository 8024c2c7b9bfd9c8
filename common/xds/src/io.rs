//! gRPC around the state machines.

pub mod auth;
pub mod client;
pub mod server;
