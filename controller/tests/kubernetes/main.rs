//! A whole controller on an API server in memory, over real HTTP.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod admission;
mod api;
mod external;
mod mesh;
