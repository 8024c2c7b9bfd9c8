//! gRPC around the state machines.

pub mod auth;
mod body;
pub mod client;
pub mod server;
mod turns;
