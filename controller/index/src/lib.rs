//! Objects in, xDS resources and a plan of writes out. Pure: the same objects always give the same
//! output, whatever the order they came in.
//! In: [`ambit_crds::Object`]s by way of [`Index::apply`]. Out: [`Output`]: the resources that
//! changed and the writes to do.
//! Owns: the objects and what was put out last. Must not happen here: IO, a clock, randomness.
//! What pods, Services and routes led to is remembered between batches (`workloads::remembered`, `services`,
//! `routes::remembered`); the rest is derived anew with every batch and compared with the last output.
//! Spec: Istio's ambient index (`istio.workload.Address`, `istio.security.Authorization`), and
//! `ambit.route.v1`.
#![forbid(unsafe_code)]

pub mod config;
mod connect_strategy;
pub mod overlay;
pub mod plan;
pub mod resource;

mod address_pool;
mod age;
mod deployer;
mod derive;
mod encode;
mod endpoint_slices;
mod entries;
mod entry_ports;
mod gateways;
mod grants;
mod index;
mod octets;
mod out;
mod peer_authentication;
mod pods;
mod policies;
mod ports;
mod revision;
mod routes;
mod selector;
mod services;
mod stable_hash;
mod statuses;
mod unserved;
mod waypoints;
mod workloads;
mod world;

pub use config::{DEFAULT_REVISION, MeshConfig, WaypointForm};
pub use gateways::classes;
pub use index::{Change, Index, Output, PodIdentity, Refusal};
pub use plan::{Plan, Write};
pub use resource::{Audience, Resource, ResourceChange};
