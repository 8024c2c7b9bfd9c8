//! The roots a peer's certificate must chain to.
//! In: PEM from the CA's reply, or of the file it publishes. Out: [`TrustBundle`], immutable. No IO.

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, TrustAnchor};
use thiserror::Error;

/// Root certificates of the mesh, parsed once per CA reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustBundle {
    roots: Vec<CertificateDer<'static>>,
    anchors: Vec<TrustAnchor<'static>>,
}

/// Why roots cannot be used.
#[derive(Debug, Error)]
pub enum BundleError {
    /// Not PEM.
    #[error("roots are not valid PEM")]
    Pem(#[source] rustls_pki_types::pem::Error),
    /// PEM without a certificate.
    #[error("no root certificate")]
    Empty,
    /// A certificate that cannot be a trust anchor.
    #[error("root certificate {index} is unusable")]
    Root {
        /// Its place in the input, from 0.
        index: usize,
        /// Why.
        #[source]
        source: webpki::Error,
    },
}

impl TrustBundle {
    /// Reads one or more concatenated PEM certificates.
    pub fn from_pem(pem: &[u8]) -> Result<Self, BundleError> {
        Self::new(certificates(pem).map_err(BundleError::Pem)?)
    }

    /// From DER certificates; duplicates are kept once.
    pub fn new(certificates: Vec<CertificateDer<'static>>) -> Result<Self, BundleError> {
        let mut bundle = Self {
            roots: Vec::with_capacity(certificates.len()),
            anchors: Vec::with_capacity(certificates.len()),
        };
        for (index, root) in certificates.into_iter().enumerate() {
            if bundle.roots.contains(&root) {
                continue;
            }
            let anchor = webpki::anchor_from_trusted_cert(&root)
                .map_err(|source| BundleError::Root { index, source })?
                .to_owned();
            bundle.anchors.push(anchor);
            bundle.roots.push(root);
        }
        if bundle.roots.is_empty() {
            return Err(BundleError::Empty);
        }
        Ok(bundle)
    }

    /// The roots, DER.
    pub fn roots(&self) -> &[CertificateDer<'static>] {
        &self.roots
    }

    /// These, then those of `other` that are not among them.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let mut both = self.clone();
        for (root, anchor) in other.roots.iter().zip(&other.anchors) {
            if !both.roots.contains(root) {
                both.roots.push(root.clone());
                both.anchors.push(anchor.clone());
            }
        }
        both
    }

    /// Whether a root of one is a root of the other.
    pub fn shares_root(&self, other: &Self) -> bool {
        self.roots.iter().any(|root| other.roots.contains(root))
    }

    pub(crate) fn anchors(&self) -> &[TrustAnchor<'static>] {
        &self.anchors
    }
}

pub(crate) fn certificates(
    pem: &[u8],
) -> Result<Vec<CertificateDer<'static>>, rustls_pki_types::pem::Error> {
    CertificateDer::pem_slice_iter(pem).collect()
}
