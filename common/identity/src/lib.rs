//! Identities: certificates fetched, kept fresh and used for mutual TLS; peers verified by SPIFFE id.
//! In: identities somebody on this node uses. Out: [`Svid`]s, TLS streams with a verified peer.
//! Owns: keys and certificates, in memory only ([`SecretStore`]).
//! Must not happen here: a policy decision, a peer accepted without a verified SPIFFE id, a key
//! written to disk or to a log.
//! Spec: SPIFFE X509-SVID; `istio.v1.auth.IstioCertificateService`.
#![forbid(unsafe_code)]

pub mod authority;
pub mod bundle;
pub mod ca_client;
mod certificate_facts;
pub mod csr;
pub mod grpc_tls;
pub mod https;
pub mod in_process_ca;
mod provider;
pub mod revocation;
pub mod rotate;
pub mod store;
pub mod svid;
pub mod tls;
mod tls_config;
pub mod verify;

/// `istio.v1.auth`: the gRPC client and server stubs; their messages are `ambit_api::ca`.
#[allow(
    missing_docs,
    unreachable_pub,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]
pub mod rpc {
    include!("gen/istio.v1.auth.rs");
}

pub use authority::{Authority, CaError, SignRequest};
pub use bundle::TrustBundle;
pub use ca_client::{CaClient, CaClientConfig};
pub use certificate_facts::CertificateFacts;
pub use in_process_ca::InProcessCa;
pub use provider::{Compliance, UnknownCompliance};
pub use revocation::{PeerCertificates, Revocations};
pub use store::{Lease, Priority, SecretStore};
pub use svid::Svid;
