//! Incremental xDS, both sides.
//! `wire`: what to send and what a message means, without IO. `io`: gRPC around it.
//! In (server): a `watch` of [`ResourceSet`]s. Out (client): [`Update`]s handed to a [`Handler`].
//! Must not: serve anything to a caller that the [`Authorizer`] has not named.
//! Spec: `envoy.service.discovery.v3` DeltaAggregatedResources.
#![forbid(unsafe_code)]

pub mod caller;
pub mod io;
pub mod resource_set;
pub mod wire;

pub use caller::{Caller, Role};
pub use io::auth::{Authorizer, Denied, Introduction};
pub use io::client::{ClientConfig, Handler, run};
pub use io::server::{Server, compression};
pub use resource_set::{Audience, Resource, ResourceChange, ResourceSet};
pub use wire::client_state::{Rejection, ResourceUpdate, Update};

/// gRPC stubs of the discovery service.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    clippy::disallowed_methods,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]
pub(crate) mod stub {
    include!("gen/envoy.service.discovery.v3.rs");
}
