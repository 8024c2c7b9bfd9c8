//! Certificates that the authority has revoked.
//! In: certificate revocation lists, PEM; chains that are verified otherwise. Out: whether one of a chain's
//! certificates is revoked. A certificate that no list speaks of is not. Pure but for the signature arithmetic.
//! Must not happen here: a list of another authority of the same name that ends all handshakes: each is asked
//! alone, and one that the chain's issuer has not signed has nothing to say.
//! Spec: RFC 5280 sections 5 and 6.3.

use crate::bundle::TrustBundle;
use crate::provider::provider;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use thiserror::Error;
use webpki::{
    BorrowedCertRevocationList, CertRevocationList, EndEntityCert, KeyUsage,
    RevocationOptionsBuilder, UnknownStatusPolicy,
};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::revocation_list::CertificateRevocationList;

/// Revoked certificates, by lists.
#[derive(Debug, Default)]
pub struct Revocations {
    lists: Vec<CertRevocationList<'static>>,
    ders: Vec<CertificateRevocationListDer<'static>>,
    revoked: HashSet<CertificateId>,
    refused: Arc<AtomicU64>,
}

/// Why a text is no set of lists.
#[derive(Debug, Error)]
pub enum RevocationError {
    /// Not PEM.
    #[error("revocation lists are not valid PEM")]
    Pem(#[source] rustls_pki_types::pem::Error),
    /// Some text, and no list.
    #[error("no revocation list")]
    Empty,
    /// A list that cannot be read.
    #[error("revocation list {index} is malformed")]
    Malformed {
        /// Its place, from 0.
        index: usize,
    },
    /// A list with what is not supported, such as one of changes only.
    #[error("revocation list {index} is unusable")]
    Unusable {
        /// Its place, from 0.
        index: usize,
        /// Why.
        #[source]
        source: webpki::Error,
    },
    /// A list that another one should have replaced, or that is not valid yet.
    #[error("revocation list {index} is not of now: valid until {until}")]
    Outdated {
        /// Its place, from 0.
        index: usize,
        /// Its `nextUpdate`.
        until: String,
    },
    /// A list that nobody signed who may.
    #[error("revocation list {index} is signed by no certificate of the authority")]
    Signer {
        /// Its place, from 0.
        index: usize,
    },
}

/// What lists call a certificate by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct CertificateId {
    /// Name of its issuer, DER.
    issuer: Box<[u8]>,
    serial: Box<[u8]>,
}

/// The certificates a peer has shown, as lists call them: to be asked about again when there is another list.
#[derive(Clone, Debug, Default)]
pub struct PeerCertificates(Box<[CertificateId]>);

impl PeerCertificates {
    /// Of a chain; what cannot be read is left out.
    pub(crate) fn of(chain: &[CertificateDer<'_>]) -> Self {
        Self(chain.iter().filter_map(id).collect())
    }
}

impl Revocations {
    /// Reads concatenated PEM (`X509 CRL`); blank text is no list.
    ///
    /// # Errors
    /// [`RevocationError`], for the first list that cannot be used.
    pub fn from_pem(pem: &str) -> Result<Self, RevocationError> {
        let mut all = Self::default();
        if pem.trim().is_empty() {
            return Ok(all);
        }
        all.ders = CertificateRevocationListDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(RevocationError::Pem)?;
        for (index, der) in all.ders.iter().enumerate() {
            let list = BorrowedCertRevocationList::from_der(der)
                .and_then(|list| list.to_owned())
                .map_err(|source| RevocationError::Unusable { index, source })?;
            let parsed = parsed(der).ok_or(RevocationError::Malformed { index })?;
            let issuer = parsed.issuer().as_raw();
            let revoked = parsed.iter_revoked_certificates();
            all.revoked.extend(revoked.map(|one| CertificateId {
                issuer: issuer.into(),
                serial: one.raw_serial().into(),
            }));
            all.lists.push(list.into());
        }
        match all.lists.is_empty() {
            true => Err(RevocationError::Empty),
            false => Ok(all),
        }
    }

    /// Counts refused peers there.
    #[must_use]
    pub fn counting(mut self, refused: Arc<AtomicU64>) -> Self {
        self.refused = refused;
        self
    }

    /// Whether no list says anything.
    pub fn is_empty(&self) -> bool {
        self.lists.is_empty()
    }

    /// How many certificates are revoked.
    pub fn len(&self) -> usize {
        self.revoked.len()
    }

    /// Whether each list is valid now and signed by one of these certificates, which may.
    ///
    /// # Errors
    /// [`RevocationError::Outdated`], [`RevocationError::Signer`].
    pub fn prove(
        &self,
        signers: &[CertificateDer<'_>],
        now: SystemTime,
    ) -> Result<(), RevocationError> {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        for (index, der) in self.ders.iter().enumerate() {
            let list = parsed(der).ok_or(RevocationError::Malformed { index })?;
            let at = |time: x509_parser::time::ASN1Time| {
                Duration::from_secs(u64::try_from(time.timestamp()).unwrap_or(0))
            };
            let ends = list.next_update();
            if at(list.last_update()) > now + CLOCKS || ends.is_some_and(|end| at(end) <= now) {
                let until = ends.map_or_else(String::new, |end| end.to_string());
                return Err(RevocationError::Outdated { index, until });
            }
            if !signers.iter().any(|signer| is_signed_by(&list, signer)) {
                return Err(RevocationError::Signer { index });
            }
        }
        Ok(())
    }

    /// The first of a peer's certificates that is revoked, by its serial number in hexadecimal. What lists say is
    /// believed; the next handshake asks who signed them.
    pub fn revoked(&self, peer: &PeerCertificates) -> Option<String> {
        let mut ids = peer.0.iter();
        let found = ids.find(|id| self.revoked.contains(*id))?;
        Some(hex(&found.serial))
    }

    /// Whether one of these certificates is revoked.
    pub fn names(&self, chain: &[CertificateDer<'_>]) -> bool {
        !self.is_empty() && self.revoked(&PeerCertificates::of(chain)).is_some()
    }

    /// Asks each list about a chain, leaf first, that was verified without.
    ///
    /// # Errors
    /// The serial number, in hexadecimal, of what is revoked.
    pub(crate) fn check(
        &self,
        bundle: &TrustBundle,
        (leaf, intermediates): (&CertificateDer<'_>, &[CertificateDer<'_>]),
        (now, usage): (UnixTime, KeyUsage),
    ) -> Result<(), String> {
        for list in &self.lists {
            let one = [list];
            let options = RevocationOptionsBuilder::new(&one)
                .expect("there is one list")
                .with_status_policy(UnknownStatusPolicy::Allow)
                .build();
            let algorithms = provider().signature_verification_algorithms.all;
            let verdict = EndEntityCert::try_from(leaf).and_then(|leaf| {
                let (anchors, options) = (bundle.anchors(), Some(options));
                leaf.verify_for_usage(
                    algorithms,
                    anchors,
                    intermediates,
                    now,
                    usage,
                    options,
                    None,
                )
                .map(drop)
            });
            if verdict == Err(webpki::Error::CertRevoked) {
                self.refused.fetch_add(1, Ordering::Relaxed);
                let all = std::iter::once(leaf).chain(intermediates);
                let shown = PeerCertificates(all.filter_map(id).collect());
                return Err(self.revoked(&shown).unwrap_or_default());
            }
        }
        Ok(())
    }
}

/// How far clocks may differ.
const CLOCKS: Duration = Duration::from_secs(300);

fn parsed<'a>(der: &'a CertificateRevocationListDer<'_>) -> Option<CertificateRevocationList<'a>> {
    let (_, list) = CertificateRevocationList::from_der(der).ok()?;
    Some(list)
}

fn id(certificate: &CertificateDer<'_>) -> Option<CertificateId> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(CertificateId {
        issuer: certificate.issuer().as_raw().into(),
        serial: certificate.raw_serial().into(),
    })
}

fn is_signed_by(list: &CertificateRevocationList<'_>, signer: &CertificateDer<'_>) -> bool {
    let Ok((_, certificate)) = X509Certificate::from_der(signer) else {
        return false;
    };
    let usage = certificate.key_usage().ok().flatten();
    let may = usage.is_none_or(|usage| usage.value.crl_sign());
    if !may || certificate.subject().as_raw() != list.issuer().as_raw() {
        return false;
    }
    let Ok(key) = EndEntityCert::try_from(signer) else {
        return false;
    };
    let signature = list.signature_value.data.as_ref();
    let mut algorithms = provider().signature_verification_algorithms.all.iter();
    algorithms.any(|algorithm| {
        key.verify_signature(*algorithm, list.tbs_cert_list.as_ref(), signature)
            .is_ok()
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
