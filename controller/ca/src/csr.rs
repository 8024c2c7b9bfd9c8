//! A certificate signing request: only its public key is used, and only if the signature proves
//! possession of the private one. Names it asks for are ignored, but where somebody else signs it as
//! it is ([`only_for`]).
//! Spec: RFC 2986.

mod names;

use crate::roots::block;
use ambit_model::SpiffeId;
use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DistinguishedName, KeyPair, PublicKeyData,
    SanType, SubjectPublicKeyInfo,
};
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
    /// No key or request of our own could be made.
    #[error("there is no key or request for a certificate of our own")]
    Own(#[source] rcgen::Error),
    /// It asks for something that is not permitted.
    #[error("the request has {what}, and may have the URI {id} as its only name and nothing else")]
    Names {
        /// The identity that is permitted.
        id: SpiffeId,
        /// What it has instead.
        what: String,
    },
}

/// A key of our own and the request for its certificate.
pub struct ServerRequest {
    /// The request, PEM.
    pub pem: String,
    /// Its public key: DER, SubjectPublicKeyInfo.
    pub key: Vec<u8>,
    /// The private key: PEM, PKCS#8.
    pub private_key: String,
}

/// Makes a key and a request for a server of these DNS names.
///
/// # Errors
/// [`CsrError::Own`].
pub fn of_server(names: &[String]) -> Result<ServerRequest, CsrError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    for name in names {
        let san = name.as_str().try_into().map_err(CsrError::Own)?;
        params.subject_alt_names.push(SanType::DnsName(san));
    }
    let key = KeyPair::generate().map_err(CsrError::Own)?;
    let request = params.serialize_request(&key).and_then(|made| made.pem());
    Ok(ServerRequest {
        pem: request.map_err(CsrError::Own)?,
        key: key.subject_public_key_info(),
        private_key: key.serialize_pem(),
    })
}

/// A request that asks for one identity and nothing else.
#[derive(Clone, Debug)]
pub struct Checked {
    /// The request as it was read, written anew: PEM, one block.
    pub pem: String,
    /// Its public key: DER, SubjectPublicKeyInfo.
    pub key: Vec<u8>,
}

/// Checks a PEM request that is signed as it is: the same as [`public_key`], and that it has the URI `id` as its
/// only subject alternative name, no subject (or an empty organization, as Istio's agents write it), and no other
/// attribute or extension.
///
/// # Errors
/// As [`public_key`], and [`CsrError::Names`].
pub fn only_for(pem: &str, id: &SpiffeId) -> Result<Checked, CsrError> {
    let key = public_key(pem)?;
    let der = der_of(pem)?;
    let (_, request) = X509CertificationRequest::from_der(&der).map_err(|_| CsrError::Key)?;
    names::only(&request, id).map_err(|what| CsrError::Names {
        id: id.clone(),
        what,
    })?;
    Ok(Checked {
        pem: block("CERTIFICATE REQUEST", &der),
        key: key.subject_public_key_info(),
    })
}

/// The public key of a PEM request.
///
/// # Errors
/// When the request is malformed, not signed by its key, or the key is weak.
pub fn public_key(pem: &str) -> Result<SubjectPublicKeyInfo, CsrError> {
    if pem.len() > MAX_LEN {
        return Err(CsrError::TooLong { len: pem.len() });
    }
    let der = der_of(pem)?;
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

fn der_of(pem: &str) -> Result<CertificateSigningRequestDer<'static>, CsrError> {
    CertificateSigningRequestDer::from_pem_slice(pem.as_bytes()).map_err(|e| CsrError::Pem {
        what: format!("{e:?}"),
    })
}

#[cfg(test)]
mod tests;
