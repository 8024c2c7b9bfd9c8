//! An authority outside, which signs by CertificateSigningRequests: what it is asked, and what its answer is worth.
//! In: settings, what a caller names, conditions of an object, a certificate that came back. Out: decisions. Pure.
//! Must not happen here: a signer that signs for the cluster itself; a certificate handed out that is of another
//! key or identity, or that peers would not believe.
//! Spec: Kubernetes `certificates.k8s.io/v1`; Istio's `EXTERNAL_CA=ISTIOD_RA_KUBERNETES_API`.

pub mod outcome;
pub mod proof;
pub mod signers;
