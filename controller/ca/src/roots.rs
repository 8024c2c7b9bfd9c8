//! Root certificates in order: the one that signs comes first.
//! In: PEM or DER. Out: [`Roots`], immutable, each certificate once. Pure.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use thiserror::Error;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Roots of one authority, or of several in turn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Roots(Vec<CertificateDer<'static>>);

/// Why a text is no list of roots.
#[derive(Debug, Error)]
pub enum RootsError {
    /// It is not PEM.
    #[error("the roots are not PEM: {what}")]
    Pem {
        /// Where the parser stopped.
        what: String,
    },
    /// A certificate in it cannot be read.
    #[error("root certificate {index} cannot be read")]
    Certificate {
        /// Its place, from 0.
        index: usize,
    },
    /// It holds no certificate.
    #[error("there is no root certificate in it")]
    Empty,
}

/// What people ask of a root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootFacts {
    /// Serial number, decimal.
    pub serial: String,
    /// End of validity.
    pub not_after: SystemTime,
}

impl Roots {
    /// Out of concatenated PEM.
    ///
    /// # Errors
    /// [`RootsError`].
    pub fn from_pem(pem: &str) -> Result<Self, RootsError> {
        let ders: Vec<_> = CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|e| RootsError::Pem {
                what: format!("{e:?}"),
            })?;
        if let Some(index) = ders.iter().position(|der| parsed(der).is_none()) {
            return Err(RootsError::Certificate { index });
        }
        match ders.is_empty() {
            true => Err(RootsError::Empty),
            false => Ok(Self::new(ders)),
        }
    }

    /// These certificates, each once.
    pub(crate) fn new(ders: impl IntoIterator<Item = CertificateDer<'static>>) -> Self {
        let mut roots = Vec::new();
        for der in ders {
            if !roots.contains(&der) {
                roots.push(der);
            }
        }
        Self(roots)
    }

    /// Concatenated PEM (RFC 7468).
    pub fn pem(&self) -> String {
        self.0.iter().map(pem_of).collect()
    }

    /// The one that signs.
    pub fn first(&self) -> Option<&CertificateDer<'static>> {
        self.0.first()
    }

    /// Whether this certificate is one of them.
    pub fn contains(&self, der: &CertificateDer<'_>) -> bool {
        self.0.iter().any(|root| root == der)
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These, then those of `other` that are not among them.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self::new(self.0.iter().chain(&other.0).cloned())
    }

    /// The same, `der` first.
    pub(crate) fn led_by(&self, der: &CertificateDer<'static>) -> Self {
        Self::new(std::iter::once(der).chain(&self.0).cloned())
    }

    /// Whether all of these are among `other`.
    pub fn are_among(&self, other: &Self) -> bool {
        self.0.iter().all(|der| other.contains(der))
    }

    /// Number and end of each.
    pub fn facts(&self) -> Vec<RootFacts> {
        self.0.iter().filter_map(facts_of).collect()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &CertificateDer<'static>> {
        self.0.iter()
    }
}

fn parsed<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    X509Certificate::from_der(der).ok().map(|(_, cert)| cert)
}

fn facts_of(der: &CertificateDer<'_>) -> Option<RootFacts> {
    let cert = parsed(der)?;
    let end = u64::try_from(cert.validity().not_after.timestamp()).unwrap_or(0);
    Some(RootFacts {
        serial: cert.serial.to_string(),
        not_after: UNIX_EPOCH + Duration::from_secs(end),
    })
}

/// One certificate as PEM (RFC 7468).
pub(crate) fn pem_of(der: &CertificateDer<'_>) -> String {
    block("CERTIFICATE", der)
}

/// One block of PEM (RFC 7468).
pub(crate) fn block(label: &str, der: &[u8]) -> String {
    let encoded = STANDARD.encode(der);
    let mut out = format!("-----BEGIN {label}-----\n");
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, tail) = rest.split_at(rest.len().min(64));
        out.push_str(line);
        out.push('\n');
        rest = tail;
    }
    out.push_str(&format!("-----END {label}-----\n"));
    out
}
