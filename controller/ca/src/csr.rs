//! A certificate signing request: only its public key is used, and only if the signature proves
//! possession of the private one. Names it asks for are ignored.
//! Spec: RFC 2986.

use rcgen::{CertificateSigningRequestParams, SubjectPublicKeyInfo};
use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject;
use thiserror::Error;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;

/// Longest request that is looked at, in bytes of PEM.
const MAX_LEN: usize = 64 * 1024;
/// Shortest RSA key, in bits.
const MIN_RSA_BITS: usize = 2048;

/// Why a request is not signed.
#[derive(Debug, Error)]
pub enum CsrError {
    /// Longer than a request can be.
    #[error("the request has {len} bytes, more than {MAX_LEN}")]
    TooLong {
        /// Bytes.
        len: usize,
    },
    /// No PEM block `CERTIFICATE REQUEST`.
    #[error("the request is not PEM: {what}")]
    Pem {
        /// Where the parser stopped.
        what: String,
    },
    /// Not a request, or its signature does not verify.
    #[error("the request cannot be read or does not prove possession of its key")]
    Invalid {
        /// Cause.
        #[source]
        source: rcgen::Error,
    },
    /// The key cannot be read.
    #[error("the public key of the request cannot be read")]
    Key,
    /// The key is of a kind or size we do not sign.
    #[error("the public key of the request is too weak or of an unknown kind")]
    WeakKey,
}

/// The public key of a PEM request.
///
/// # Errors
/// When the request is malformed, not signed by its key, or the key is weak.
pub fn public_key(pem: &str) -> Result<SubjectPublicKeyInfo, CsrError> {
    if pem.len() > MAX_LEN {
        return Err(CsrError::TooLong { len: pem.len() });
    }
    let der = CertificateSigningRequestDer::from_pem_slice(pem.as_bytes()).map_err(|e| {
        CsrError::Pem {
            what: format!("{e:?}"),
        }
    })?;
    // Checks the signature.
    CertificateSigningRequestParams::from_der(&der)
        .map_err(|source| CsrError::Invalid { source })?;
    let (_, request) = X509CertificationRequest::from_der(&der).map_err(|_| CsrError::Key)?;
    let spki = &request.certification_request_info.subject_pki;
    match spki.parsed().map_err(|_| CsrError::Key)? {
        PublicKey::EC(point) if point.key_size() >= 256 => {}
        PublicKey::RSA(key) if key.key_size() >= MIN_RSA_BITS => {}
        PublicKey::Unknown(_) => {}
        _ => return Err(CsrError::WeakKey),
    }
    // Knows P-256, P-384, P-521, RSA and Ed25519; everything else ends here.
    SubjectPublicKeyInfo::from_der(spki.raw).map_err(|_| CsrError::WeakKey)
}
