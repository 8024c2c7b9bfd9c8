//! A key and the request to sign it.
//! In: the identity. Out: a P-256 key and a PEM request with an empty subject and the identity as
//! its only, critical, SAN URI. No IO; the key stays in memory.

use ambit_model::ids::SpiffeId;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, PKCS_ECDSA_P256_SHA256, SanType};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use thiserror::Error;

/// A fresh key with its signing request.
#[derive(Debug)]
pub struct KeyRequest {
    /// Certificate signing request, PEM (`IstioCertificateRequest.csr`).
    pub csr_pem: String,
    /// The private key, PKCS#8.
    pub key: PrivateKeyDer<'static>,
}

/// Why no request could be made.
#[derive(Debug, Error)]
pub enum CsrError {
    /// The identity cannot be written as an ASCII URI.
    #[error("identity {id} cannot be a certificate name")]
    Name {
        /// What was asked for.
        id: SpiffeId,
        /// Why.
        #[source]
        source: rcgen::Error,
    },
    /// The crypto library failed.
    #[error("making a key and a signing request failed")]
    Crypto(#[source] rcgen::Error),
}

/// Makes a key (ECDSA P-256) and its request for `id`.
pub fn request(id: &SpiffeId) -> Result<KeyRequest, CsrError> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(CsrError::Crypto)?;
    let params = params(id)?;
    let csr = params.serialize_request(&key).map_err(CsrError::Crypto)?;
    Ok(KeyRequest {
        csr_pem: csr.pem().map_err(CsrError::Crypto)?,
        key: PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
    })
}

/// Parameters with an empty subject (which makes the SAN critical, RFC 5280 section 4.2.1.6).
pub(crate) fn params(id: &SpiffeId) -> Result<CertificateParams, CsrError> {
    let uri = id.to_string().try_into().map_err(|source| CsrError::Name {
        id: id.clone(),
        source,
    })?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(uri)];
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;
    use x509_parser::prelude::*;

    #[test]
    fn a_request_names_the_identity_only_in_a_critical_san() {
        let id = SpiffeId::new("cluster.local", "default", "web");
        let made = request(&id).unwrap();
        let (_, pem) = parse_x509_pem(made.csr_pem.as_bytes()).unwrap();
        assert_eq!(pem.label, "CERTIFICATE REQUEST");
        let (_, csr) = X509CertificationRequest::from_der(&pem.contents).unwrap();
        csr.verify_signature().unwrap();
        assert_eq!(csr.certification_request_info.subject.iter().count(), 0);
        let extensions: Vec<_> = csr.requested_extensions().unwrap().collect();
        let [ParsedExtension::SubjectAlternativeName(san)] = extensions[..] else {
            panic!("{extensions:?}");
        };
        assert!(matches!(san.general_names[..], [GeneralName::URI(u)] if u == id.to_string()));
    }

    #[test]
    fn a_name_that_is_not_ascii_is_refused() {
        let id = SpiffeId::new("cluster.local", "défaut", "web");
        assert!(matches!(request(&id), Err(CsrError::Name { .. })));
    }
}
