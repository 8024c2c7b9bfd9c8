//! The controller: objects → index → xDS; certificates; statuses.
//! In: an API server and a Secret, or a directory, a JWKS file and a CA directory. Out: xDS and CA on
//! one TLS port, metrics and debug on another, statuses and generated objects where objects come from.
//! Owns: the index (one task), the `ResourceSet` (a `watch` channel). The CA key is `ambit-ca`'s.
//! Must not happen here: a decision about objects (that is `ambit-index`), an unauthenticated answer.
#![forbid(unsafe_code)]

pub mod app;
pub mod config;

mod admission;
mod authority;
mod cluster;
mod external;
mod facts;
mod metrics;
mod serve;
mod signing;
mod times;
mod watch;
mod write;
