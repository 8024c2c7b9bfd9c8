//! The certificate authority: who calls, what they may ask for, and the signing itself.
//! In: bearer tokens, CSRs, the pods of the mesh. Out: a [`caller::Caller`], a permitted
//! [`ambit_model::SpiffeId`], a signed chain.
//! Owns: the signing key, out of one directory or given as PEM. No sockets; the clock is passed in.
//! Must not happen here: a certificate whose names come from the CSR; an answer to a caller that
//! says why it was refused (reasons go to the log).
//! Spec: SPIFFE X.509-SVID; RFC 5280; RFC 7519 (JWT), RFC 7517 (JWKS); Kubernetes bound tokens
//! and TokenReview.
#![forbid(unsafe_code)]

pub mod auth;
pub mod authority;
pub mod authorize;
pub mod caller;
pub mod csr;
pub mod external;
pub mod jwks;
pub mod pods;
pub mod review;
pub mod roots;
pub mod rotation;
