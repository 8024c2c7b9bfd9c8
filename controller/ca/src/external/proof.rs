//! Whether a certificate that came back is the one that was asked for, and one that peers believe.
//! In: PEM of a signer, what was asked, the roots, the time. Out: a chain to hand out, or what is wrong with it. Pure.
//! Must not happen here: a check that differs from what proxies check.
//! Spec: RFC 5280 section 6; SPIFFE X.509-SVID section 4.

use crate::roots::{Roots, pem_of};
use ambit_identity::TrustBundle;
use ambit_identity::bundle::BundleError;
use ambit_identity::verify::{self, Chain, VerifyError};
use ambit_model::SpiffeId;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, UnixTime};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use thiserror::Error;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// Longest answer that is looked at, in bytes of PEM.
const MAX_LEN: usize = 128 * 1024;
/// Most certificates in one.
const MAX_CHAIN: usize = 10;

/// Whose certificate was asked for.
#[derive(Clone, Copy, Debug)]
pub enum Names<'a> {
    /// A workload's, of both roles.
    Identity(&'a SpiffeId),
    /// A server's: all of these.
    Dns(&'a [String]),
}

/// What was asked for.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Of this key: DER, SubjectPublicKeyInfo.
    pub key: &'a [u8],
    /// In these names.
    pub names: Names<'a>,
}

/// Why a certificate is not handed out.
#[derive(Debug, Error)]
pub enum ProofError {
    /// More than any chain has.
    #[error("the certificate is {what}")]
    Large {
        /// How much.
        what: String,
    },
    /// No PEM.
    #[error("the certificate cannot be read: {what}")]
    Pem {
        /// Where the parser stopped.
        what: String,
    },
    /// No certificate in it, or one that is none.
    #[error("there is no certificate that can be read")]
    Certificate,
    /// Of another key than the request.
    #[error("the certificate is not of the key in the request")]
    Key,
    /// Other names than were asked for.
    #[error("the certificate has {got}, and not the names that were asked for alone")]
    Names {
        /// Which it has.
        got: String,
    },
    /// The roots themselves.
    #[error("the roots are not usable")]
    Roots(#[source] BundleError),
    /// It would not be believed.
    #[error("the certificate does not verify to the roots of the mesh ({root})")]
    Chain {
        /// Subject of the first root.
        root: String,
        /// Why.
        #[source]
        source: VerifyError,
    },
}

/// A certificate that may be handed out.
#[derive(Clone, Debug)]
pub struct Proved {
    /// PEM: leaf, then intermediates, one each; no roots.
    pub chain: Vec<String>,
    /// When the leaf expires.
    pub not_after: SystemTime,
}

/// Checks what a signer returned.
///
/// # Errors
/// [`ProofError`].
pub fn prove(
    pem: &[u8],
    asked: &Asked<'_>,
    roots: &Roots,
    now: SystemTime,
) -> Result<Proved, ProofError> {
    let ders = read(pem)?;
    let (leaf, above) = ders.split_first().ok_or(ProofError::Certificate)?;
    let (_, cert) = X509Certificate::from_der(leaf).map_err(|_| ProofError::Certificate)?;
    if cert.public_key().raw != asked.key {
        return Err(ProofError::Key);
    }
    same_names(&cert, asked.names)?;
    let above: Vec<_> = above
        .iter()
        .filter(|der| !roots.contains(der))
        .cloned()
        .collect();
    believed(leaf, &above, (asked.names, roots), now)?;
    let end = u64::try_from(cert.validity().not_after.timestamp()).unwrap_or(0);
    Ok(Proved {
        chain: std::iter::once(leaf).chain(&above).map(pem_of).collect(),
        not_after: UNIX_EPOCH + Duration::from_secs(end),
    })
}

fn read(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, ProofError> {
    if pem.len() > MAX_LEN {
        let what = format!("{} bytes long, more than {MAX_LEN}", pem.len());
        return Err(ProofError::Large { what });
    }
    let mut ders = Vec::new();
    for der in CertificateDer::pem_slice_iter(pem) {
        let der = der.map_err(|e| ProofError::Pem {
            what: format!("{e:?}"),
        })?;
        // One that cannot be read is of no use to anybody.
        X509Certificate::from_der(&der).map_err(|_| ProofError::Certificate)?;
        if ders.len() == MAX_CHAIN {
            let what = format!("a chain of more than {MAX_CHAIN}");
            return Err(ProofError::Large { what });
        }
        ders.push(der);
    }
    Ok(ders)
}

/// Who asked for one identity gets a certificate of that one: peers would believe each of its names.
fn same_names(cert: &X509Certificate<'_>, wanted: Names<'_>) -> Result<(), ProofError> {
    let found = cert.subject_alternative_name().ok().flatten();
    let found = found.map(|extension| &extension.value.general_names[..]);
    let found = found.unwrap_or_default();
    let same = match wanted {
        Names::Identity(id) => match found {
            [GeneralName::URI(uri)] => *uri == id.to_string(),
            _ => false,
        },
        Names::Dns(names) => {
            let has = |name: &String| found.contains(&GeneralName::DNSName(name));
            names.iter().all(has) && found.len() == names.len()
        }
    };
    if same {
        return Ok(());
    }
    let got: Vec<_> = found
        .iter()
        .take(MAX_CHAIN)
        .map(ToString::to_string)
        .collect();
    Err(ProofError::Names {
        got: match got.is_empty() {
            true => "no name".to_owned(),
            false => got.join(", "),
        },
    })
}

fn believed(
    leaf: &CertificateDer<'_>,
    above: &[CertificateDer<'_>],
    (names, roots): (Names<'_>, &Roots),
    now: SystemTime,
) -> Result<(), ProofError> {
    let bundle = TrustBundle::new(roots.iter().cloned().collect()).map_err(ProofError::Roots)?;
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let chain = Chain {
        leaf,
        intermediates: above,
        now: UnixTime::since_unix_epoch(since),
    };
    let verified = match names {
        Names::Identity(id) => {
            let expected: Arc<[SpiffeId]> = [id.clone()].into();
            let client = verify::client(&bundle, &id.trust_domain().into(), chain);
            client
                .and_then(|_| verify::server(&bundle, &expected, chain))
                .map(drop)
        }
        Names::Dns(_) => verify::root_of(&bundle, chain).map(drop),
    };
    verified.map_err(|source| ProofError::Chain {
        root: roots.first().map(subject).unwrap_or_default(),
        source,
    })
}

fn subject(der: &CertificateDer<'_>) -> String {
    X509Certificate::from_der(der).map_or_else(|_| String::new(), |(_, c)| c.subject().to_string())
}

#[cfg(test)]
mod tests;
