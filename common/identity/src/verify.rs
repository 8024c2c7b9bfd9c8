//! Is the peer who we think it is?
//! In: the peer's chain during the handshake. Out: accepted, or a [`VerifyError`] that ends it.
//! Both sides check the chain to the roots of the CA's reply. A client wants any of the peer's URI
//! SANs to be any expected identity (the server name plays no role); a server wants a SPIFFE id of
//! its own trust domain; and neither a certificate that is revoked. Pure but for the signature arithmetic.
//! Spec: SPIFFE X509-SVID section 5; Istio's fixed path layout.

use crate::bundle::TrustBundle;
use crate::provider::provider;
use crate::revocation::Revocations;
use ambit_model::ids::SpiffeId;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use std::sync::Arc;
use thiserror::Error;
use webpki::{EndEntityCert, KeyUsage};

/// Why a peer's certificate was refused.
#[derive(Clone, Debug, Error)]
pub enum VerifyError {
    /// The client sent no certificate.
    #[error("the peer presented no certificate")]
    NoCertificate,
    /// Not a certificate, expired, of another root, not for this use ….
    #[error("the peer's certificate does not chain to our roots")]
    Chain(#[source] webpki::Error),
    /// No URI SAN of the form `spiffe://<td>/ns/<ns>/sa/<sa>`.
    #[error("the peer's certificate has no SPIFFE id")]
    NoIdentity,
    /// The server is somebody else.
    #[error("the peer is {got:?}, expected one of {expected:?}")]
    NotExpected {
        /// SPIFFE ids of the peer.
        got: Vec<SpiffeId>,
        /// Who was expected.
        expected: Arc<[SpiffeId]>,
    },
    /// A certificate of the peer, or the one that issued it, is on a list of revoked ones.
    #[error("the peer's certificate is revoked (serial number {serial})")]
    Revoked {
        /// Of the revoked certificate, hexadecimal.
        serial: String,
    },
    /// The client is of another trust domain.
    #[error("the peer {got} is not of trust domain {own}")]
    TrustDomain {
        /// The peer.
        got: SpiffeId,
        /// Our trust domain.
        own: Arc<str>,
    },
}

/// The first SPIFFE id among the URI SANs of a certificate; no trust is implied.
pub fn identity_of(certificate: &CertificateDer<'_>) -> Option<SpiffeId> {
    ids_of(certificate).into_iter().next()
}

/// All SPIFFE ids among the URI SANs of a certificate, in order; no trust is implied.
pub(crate) fn ids_of(certificate: &CertificateDer<'_>) -> Vec<SpiffeId> {
    EndEntityCert::try_from(certificate)
        .map(|cert| spiffe_ids(&cert).collect())
        .unwrap_or_default()
}

fn spiffe_ids<'a>(cert: &'a EndEntityCert<'_>) -> impl Iterator<Item = SpiffeId> + 'a {
    cert.valid_uri_names().filter_map(|uri| uri.parse().ok())
}

/// Checks a server: any of its ids must be any expected one.
///
/// # Errors
/// [`VerifyError`]; an empty `expected` fails for everybody.
pub fn server(
    bundle: &TrustBundle,
    expected: &Arc<[SpiffeId]>,
    chain: Chain<'_>,
) -> Result<SpiffeId, VerifyError> {
    let cert = chain.verify(bundle, KeyUsage::server_auth())?;
    if let Some(id) = spiffe_ids(&cert).find(|id| expected.contains(id)) {
        return Ok(id);
    }
    let got: Vec<_> = spiffe_ids(&cert).collect();
    if got.is_empty() {
        return Err(VerifyError::NoIdentity);
    }
    Err(VerifyError::NotExpected {
        got,
        expected: expected.clone(),
    })
}

/// Checks a client: its first SPIFFE id must be of `trust_domain`.
///
/// # Errors
/// [`VerifyError`].
pub fn client(
    bundle: &TrustBundle,
    trust_domain: &Arc<str>,
    chain: Chain<'_>,
) -> Result<SpiffeId, VerifyError> {
    let cert = chain.verify(bundle, KeyUsage::client_auth())?;
    let got = spiffe_ids(&cert).next().ok_or(VerifyError::NoIdentity)?;
    if got.trust_domain() != &**trust_domain {
        return Err(VerifyError::TrustDomain {
            got,
            own: trust_domain.clone(),
        });
    }
    Ok(got)
}

/// The root that a chain verifies to: the first of them, by place.
///
/// # Errors
/// [`VerifyError`] when there is none; why not by the first root.
pub fn root_of(bundle: &TrustBundle, chain: Chain<'_>) -> Result<usize, VerifyError> {
    let leaf = EndEntityCert::try_from(chain.leaf).map_err(VerifyError::Chain)?;
    let algorithms = provider().signature_verification_algorithms.all;
    let (above, now) = (chain.intermediates, chain.now);
    let mut refusal = VerifyError::NoCertificate;
    for (place, anchor) in bundle.anchors().iter().enumerate() {
        let anchor = std::slice::from_ref(anchor);
        let usage = KeyUsage::server_auth();
        match leaf.verify_for_usage(algorithms, anchor, above, now, usage, None, None) {
            Ok(_) => return Ok(place),
            Err(error) if place == 0 => refusal = VerifyError::Chain(error),
            Err(_) => {}
        }
    }
    Err(refusal)
}

/// A peer's certificates at a moment.
#[derive(Clone, Copy, Debug)]
pub struct Chain<'a> {
    /// The peer's own certificate.
    pub leaf: &'a CertificateDer<'a>,
    /// What it sent along.
    pub intermediates: &'a [CertificateDer<'a>],
    /// When.
    pub now: UnixTime,
}

impl<'a> Chain<'a> {
    /// Whether nothing of a verified chain is revoked.
    fn counts(
        self,
        (bundle, revoked): (&TrustBundle, &Revocations),
        usage: KeyUsage,
    ) -> Result<(), VerifyError> {
        let shown = (self.leaf, self.intermediates);
        let asked = revoked.check(bundle, shown, (self.now, usage));
        asked.map_err(|serial| VerifyError::Revoked { serial })
    }

    fn verify(
        self,
        bundle: &TrustBundle,
        usage: KeyUsage,
    ) -> Result<EndEntityCert<'a>, VerifyError> {
        let cert = EndEntityCert::try_from(self.leaf).map_err(VerifyError::Chain)?;
        cert.verify_for_usage(
            provider().signature_verification_algorithms.all,
            bundle.anchors(),
            self.intermediates,
            self.now,
            usage,
            None,
            None,
        )
        .map_err(VerifyError::Chain)?;
        Ok(cert)
    }
}

fn refuse(error: VerifyError) -> rustls::Error {
    rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(Arc::new(error))))
}

/// rustls' view of [`server`].
#[derive(Debug)]
pub(crate) struct ExpectPeers {
    pub(crate) bundle: Arc<TrustBundle>,
    pub(crate) revoked: Arc<Revocations>,
    pub(crate) expected: Arc<[SpiffeId]>,
}

/// rustls' view of [`client`].
#[derive(Debug)]
pub(crate) struct RequireTrustDomain {
    pub(crate) bundle: Arc<TrustBundle>,
    pub(crate) revoked: Arc<Revocations>,
    pub(crate) trust_domain: Arc<str>,
}

macro_rules! signature_checks {
    () => {
        fn verify_tls12_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            let algorithms = &provider().signature_verification_algorithms;
            verify_tls12_signature(message, cert, dss, algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            cert: &CertificateDer<'_>,
            dss: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, rustls::Error> {
            let algorithms = &provider().signature_verification_algorithms;
            verify_tls13_signature(message, cert, dss, algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            provider()
                .signature_verification_algorithms
                .supported_schemes()
        }
    };
}

impl ServerCertVerifier for ExpectPeers {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let chain = Chain {
            leaf,
            intermediates,
            now,
        };
        let usage = KeyUsage::server_auth();
        server(&self.bundle, &self.expected, chain)
            .and_then(|_| chain.counts((&self.bundle, &self.revoked), usage))
            .map(|_| ServerCertVerified::assertion())
            .map_err(refuse)
    }

    signature_checks!();
}

impl ClientCertVerifier for RequireTrustDomain {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        let chain = Chain {
            leaf,
            intermediates,
            now,
        };
        let usage = KeyUsage::client_auth();
        client(&self.bundle, &self.trust_domain, chain)
            .and_then(|_| chain.counts((&self.bundle, &self.revoked), usage))
            .map(|_| ClientCertVerified::assertion())
            .map_err(refuse)
    }

    signature_checks!();
}
