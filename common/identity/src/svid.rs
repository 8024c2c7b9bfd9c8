//! One certificate with its key, ready for use.
//! In: the CA's reply and the key it was asked for. Out: [`Svid`], immutable, with the TLS
//! configurations of both roles built once.
//! Must not happen here: a reply for another identity or another key accepted; the key shown.

use crate::bundle::{BundleError, TrustBundle, certificates};
use crate::certificate_facts::CertificateFacts;
use crate::revocation::Revocations;
use crate::{tls_config, verify};
use ambit_model::ids::SpiffeId;
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};
use thiserror::Error;
use x509_parser::prelude::{FromDer, X509Certificate};

/// A SPIFFE verifiable identity document: certificate chain, key and the roots that came with it.
pub struct Svid {
    id: SpiffeId,
    certified: Arc<CertifiedKey>,
    bundle: Arc<TrustBundle>,
    revoked: Arc<Revocations>,
    facts: CertificateFacts,
    client: ClientConfig,
    server: Arc<ServerConfig>,
}

/// Why a CA's reply cannot be used.
#[derive(Debug, Error)]
pub enum SvidError {
    /// Fewer than two entries: no roots.
    #[error("the reply has {entries} entries, at least a leaf and roots are needed")]
    Incomplete {
        /// `IstioCertificateResponse.cert_chain` length.
        entries: usize,
    },
    /// An entry of the chain is not PEM.
    #[error("entry {index} of the chain is not valid PEM")]
    Pem {
        /// Its place, from 0.
        index: usize,
        /// Why.
        #[source]
        source: rustls_pki_types::pem::Error,
    },
    /// The first entry holds no certificate.
    #[error("the chain has no leaf certificate")]
    NoLeaf,
    /// The leaf is not an X.509 certificate.
    #[error("the leaf certificate is malformed")]
    Leaf(#[source] x509_parser::error::X509Error),
    /// The leaf is for somebody else.
    #[error("asked for {wanted}, the certificate is for {}", .got.as_ref().map_or_else(|| "no SPIFFE id".to_owned(), ToString::to_string))]
    OtherIdentity {
        /// What was asked for.
        wanted: SpiffeId,
        /// What came.
        got: Option<SpiffeId>,
    },
    /// The roots are unusable.
    #[error("the roots of the reply are unusable")]
    Roots(#[source] BundleError),
    /// The key is of a kind we do not sign with, or does not belong to the leaf.
    #[error("key and certificate do not fit")]
    Key(#[source] rustls::Error),
}

impl Svid {
    /// From the entries of a CA reply (`istio.v1.auth`): leaf first, roots last, intermediates
    /// between. The leaf's first SPIFFE id must be `id`.
    pub fn from_reply(
        id: &SpiffeId,
        key: PrivateKeyDer<'static>,
        entries: &[String],
    ) -> Result<Self, SvidError> {
        let [chain @ .., roots] = entries else {
            return Err(SvidError::Incomplete { entries: 0 });
        };
        if chain.is_empty() {
            return Err(SvidError::Incomplete { entries: 1 });
        }
        let mut certs = Vec::with_capacity(chain.len());
        for (index, pem) in chain.iter().enumerate() {
            let parsed =
                certificates(pem.as_bytes()).map_err(|source| SvidError::Pem { index, source })?;
            if index == 0 && parsed.is_empty() {
                return Err(SvidError::NoLeaf);
            }
            certs.extend(parsed);
        }
        let bundle = TrustBundle::from_pem(roots.as_bytes()).map_err(SvidError::Roots)?;
        Self::new(id, key, certs, Arc::new(bundle))
    }

    /// From parts: leaf first, then intermediates.
    pub fn new(
        id: &SpiffeId,
        key: PrivateKeyDer<'static>,
        chain: Vec<CertificateDer<'static>>,
        bundle: Arc<TrustBundle>,
    ) -> Result<Self, SvidError> {
        let leaf = chain.first().ok_or(SvidError::NoLeaf)?;
        let got = verify::identity_of(leaf);
        if got.as_ref() != Some(id) {
            return Err(SvidError::OtherIdentity {
                wanted: id.clone(),
                got,
            });
        }
        let (_, parsed) =
            X509Certificate::from_der(leaf).map_err(|e| SvidError::Leaf(into_x509(e)))?;
        let facts = CertificateFacts::read(&parsed);
        let key = crate::provider::provider()
            .key_provider
            .load_private_key(key)
            .map_err(SvidError::Key)?;
        let certified = Arc::new(CertifiedKey::new(chain, key));
        certified.keys_match().map_err(SvidError::Key)?;
        let revoked = Arc::default();
        let peers = (&bundle, &revoked);
        Ok(Self {
            id: id.clone(),
            client: tls_config::client_config(&certified, peers),
            server: tls_config::server_config(&certified, peers, id.trust_domain()),
            certified,
            bundle,
            revoked,
            facts,
        })
    }

    /// The same certificate, with other roots to check peers by.
    #[must_use]
    pub fn trusting(&self, bundle: Arc<TrustBundle>) -> Self {
        self.judging(bundle, self.revoked.clone())
    }

    /// The same certificate; peers with a certificate that is revoked are refused.
    #[must_use]
    pub fn refusing(&self, revoked: Arc<Revocations>) -> Self {
        self.judging(self.bundle.clone(), revoked)
    }

    fn judging(&self, bundle: Arc<TrustBundle>, revoked: Arc<Revocations>) -> Self {
        let peers = (&bundle, &revoked);
        Self {
            id: self.id.clone(),
            client: tls_config::client_config(&self.certified, peers),
            server: tls_config::server_config(&self.certified, peers, self.id.trust_domain()),
            certified: self.certified.clone(),
            bundle,
            revoked,
            facts: self.facts.clone(),
        }
    }

    /// Whose certificate it is.
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// Leaf, then intermediates, DER.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.certified.cert
    }

    /// The roots peers are checked against.
    pub fn bundle(&self) -> &Arc<TrustBundle> {
        &self.bundle
    }

    /// Peers' certificates that do not count any more.
    pub(crate) fn revoked(&self) -> &Arc<Revocations> {
        &self.revoked
    }

    /// Serial number of the leaf, decimal.
    pub fn serial(&self) -> &str {
        &self.facts.serial
    }

    /// Start of validity.
    pub fn not_before(&self) -> SystemTime {
        self.facts.not_before
    }

    /// End of validity.
    pub fn not_after(&self) -> SystemTime {
        self.facts.not_after
    }

    /// What is left of its life at `now`; `None` once it is over.
    pub fn remaining(&self, now: SystemTime) -> Option<Duration> {
        self.facts
            .not_after
            .duration_since(now)
            .ok()
            .filter(|left| !left.is_zero())
    }

    /// Base of the client side's configuration; the expected peers are added per handshake.
    pub(crate) fn client_config(&self) -> &ClientConfig {
        &self.client
    }

    pub(crate) fn server_config(&self) -> &Arc<ServerConfig> {
        &self.server
    }
}

impl fmt::Debug for Svid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Svid")
            .field("id", &self.id)
            .field("serial", &self.facts.serial)
            .field("not_after", &self.facts.not_after)
            .finish_non_exhaustive()
    }
}

fn into_x509(
    error: x509_parser::nom::Err<x509_parser::error::X509Error>,
) -> x509_parser::error::X509Error {
    match error {
        x509_parser::nom::Err::Error(e) | x509_parser::nom::Err::Failure(e) => e,
        x509_parser::nom::Err::Incomplete(_) => x509_parser::error::X509Error::InvalidCertificate,
    }
}
