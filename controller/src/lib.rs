//! The controller: objects of a directory → index → xDS; certificates; statuses.
//! In: a directory, a JWKS file, a CA directory. Out: xDS and CA on one TLS port, metrics and debug
//! on another, statuses and generated objects in the directory.
//! Owns: the index (one task), the `ResourceSet` (a `watch` channel). The CA key is `ambit-ca`'s.
//! Must not happen here: a decision about objects (that is `ambit-index`), an unauthenticated answer.
#![forbid(unsafe_code)]

pub mod app;
pub mod config;

mod facts;
mod metrics;
mod serve;
mod watch;
mod write;
