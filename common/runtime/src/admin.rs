//! A small HTTP/1.1 server for admin, metrics and readiness ports.
//! In: a listener and [`Routes`]. Out: one [`Reply`] per request. Owns: its connections, bounded.
//! Must not: carry user traffic. Headers have 2 s, bodies 5 s and 1 MiB, handlers 6 min.
//! Spec: RFC 9112.

mod route;
mod serve;

pub use route::{Reply, Request, Routes};
pub use serve::{BindError, Server, ServerCounters};
