//! The source against an API server of the process: lists, watches, statuses, and what goes wrong.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod api;
mod watching;
mod writing;
