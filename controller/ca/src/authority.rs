//! The signing key and what it signs: leaves for workloads, and our own server certificate.
//! In: a public key, an identity that authorization has permitted, the time. Out: PEM chains.
//! Owns: the key. Never signs a CA, never a name that the requester chose.
//! Spec: SPIFFE X.509-SVID section 4; RFC 5280.

mod disk;
mod error;
mod material;
mod proof;
#[cfg(test)]
mod tests;

use crate::roots::Roots;
use crate::rotation::Published;
use ambit_model::SpiffeId;
use material::{Lists, Material};
use rand::RngCore;
use rcgen::{
    CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, Issuer, KeyPair,
    KeyUsagePurpose, PublicKeyData, SanType, SerialNumber,
};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use thiserror::Error;

pub use error::OpenError;
pub use material::Pem;

/// How far `not_before` lies in the past: clocks of nodes differ.
const BACKDATE: Duration = Duration::from_secs(120);

/// How long leaves live.
#[derive(Clone, Copy, Debug)]
pub struct Lifetimes {
    /// When the request names none.
    pub default: Duration,
    /// Longest that is granted.
    pub max: Duration,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self {
            default: Duration::from_secs(24 * 3600),
            max: Duration::from_secs(90 * 24 * 3600),
        }
    }
}

/// How a self-signed root is made.
#[derive(Clone, Copy, Debug)]
pub struct SelfSigned<'a> {
    /// Its subject.
    pub trust_domain: &'a str,
    /// How long it lives.
    pub lifetime: Duration,
    /// Share of its life, in percent, that is left when it is renewed.
    pub grace_percent: u8,
}

impl<'a> SelfSigned<'a> {
    /// Ten years, renewed when two are left, as Istio's.
    pub fn of(trust_domain: &'a str) -> Self {
        Self {
            trust_domain,
            lifetime: Duration::from_secs(3650 * 24 * 3600),
            grace_percent: 20,
        }
    }
}

/// What an authority must hold to.
#[derive(Clone, Copy, Debug)]
pub struct Terms<'a> {
    /// Trust domain of what it signs.
    pub trust_domain: &'a str,
    /// How long that lives.
    pub lifetimes: Lifetimes,
    /// The time.
    pub now: SystemTime,
}

/// Why nothing was signed.
#[derive(Debug, Error)]
pub enum SignError {
    /// Our own certificate is no longer valid.
    #[error("the signing certificate has expired")]
    Expired,
    /// The identity cannot be written as a URI.
    #[error("{id} cannot be written into a certificate")]
    Name {
        /// Which.
        id: String,
    },
    /// The cryptography refused.
    #[error("signing failed")]
    Sign {
        /// Cause.
        #[source]
        source: rcgen::Error,
    },
}

/// A signed leaf.
#[derive(Clone, Debug)]
pub struct Signed {
    /// PEM: leaf, intermediates one each, and all roots in the last element.
    pub chain: Vec<String>,
    /// When the leaf expires.
    pub not_after: SystemTime,
}

/// Our own certificate for the xDS and CA port.
pub struct ServerCertificate {
    /// PEM: leaf and intermediates.
    pub chain: String,
    /// PEM, PKCS#8.
    pub key: String,
    /// When it expires; make another well before.
    pub not_after: SystemTime,
}

/// The certificate authority. Cheap to clone.
#[derive(Clone)]
pub struct Authority {
    issuer: Arc<Issuer<'static, KeyPair>>,
    /// PEM, one each, signing certificate first; empty when the root signs.
    intermediates: Arc<[String]>,
    /// Its own, first the one that signs.
    roots: Roots,
    /// PEM bundle that goes with every chain.
    sent: Arc<str>,
    /// Lists of revoked certificates, PEM; empty without any.
    crl: Arc<str>,
    /// End of the first certificate in the chain that expires.
    not_after: SystemTime,
    lifetimes: Lifetimes,
}

/// Reads the authority kept in `dir`: plugged certificates (`ca-cert.pem`, `ca-key.pem`, `cert-chain.pem`,
/// `root-cert.pem`; or `tls.crt`, `tls.key`, `ca.crt`) when a key is there, else a self-signed root
/// (`root-cert.pem`, `root-key.pem`), which is made on first use and renewed with the same key.
///
/// # Errors
/// When files cannot be read, parsed or written.
pub fn load(dir: &Path, form: &SelfSigned<'_>, now: SystemTime) -> Result<Pem, OpenError> {
    disk::load(dir, form, now)
}

/// Reads a plugged-in authority; `None` when there is no key in `dir`.
///
/// # Errors
/// When files cannot be read.
pub fn plugged(dir: &Path) -> Result<Option<Pem>, OpenError> {
    disk::plugged(dir)
}

/// The roots published beside the authority in `dir`; `None` before the first time.
///
/// # Errors
/// When the file cannot be read or holds no roots.
pub fn read_published(dir: &Path) -> Result<Option<Published>, OpenError> {
    let Some((pem, since)) = disk::read_published(dir)? else {
        return Ok(None);
    };
    let roots = Roots::from_pem(&pem);
    let roots = roots.map_err(|e| material::content(&published_file(dir), &e))?;
    Ok(Some(Published { roots, since }))
}

/// Publishes roots beside the authority in `dir`, by rename.
///
/// # Errors
/// When the file cannot be written.
pub fn publish(dir: &Path, roots: &Roots) -> Result<(), OpenError> {
    disk::publish(dir, &roots.pem())
}

/// Publishes lists of revoked certificates beside the authority in `dir`, by rename; without any there is no file.
///
/// # Errors
/// When the file cannot be written.
pub fn publish_crl(dir: &Path, pem: &str) -> Result<(), OpenError> {
    disk::publish_crl(dir, pem)
}

/// The file of [`publish`], for proxies to trust.
pub fn published_file(dir: &Path) -> PathBuf {
    disk::published(dir)
}

impl Authority {
    /// [`load`], and the authority it makes.
    ///
    /// # Errors
    /// When files cannot be read, parsed or written, or do not belong together.
    pub fn open(dir: &Path, form: &SelfSigned<'_>, terms: &Terms<'_>) -> Result<Self, OpenError> {
        Self::from_pem(dir, &load(dir, form, terms.now)?, terms)
    }

    /// The authority these parts make, if leaves of it would be believed. `place` names them in errors.
    ///
    /// # Errors
    /// When a part cannot be parsed, or the parts do not belong together.
    pub fn from_pem(place: &Path, pem: &Pem, terms: &Terms<'_>) -> Result<Self, OpenError> {
        Self::of(place, pem, (Lists::OfNow, terms))
    }

    /// The same, with lists of revoked certificates that newer ones should have replaced: where there is no
    /// authority to go on with.
    ///
    /// # Errors
    /// As [`Authority::from_pem`].
    pub fn with_old_lists(place: &Path, pem: &Pem, terms: &Terms<'_>) -> Result<Self, OpenError> {
        Self::of(place, pem, (Lists::AsTheyAre, terms))
    }

    fn of(place: &Path, pem: &Pem, (lists, terms): (Lists, &Terms<'_>)) -> Result<Self, OpenError> {
        let material = Material::new(place, pem, (lists, terms.now))?;
        let roots = proof::prove(place, &material, terms)?;
        Ok(Self {
            intermediates: material.intermediates().into(),
            issuer: material.issuer,
            sent: roots.pem().into(),
            roots,
            crl: material.crl.into(),
            not_after: material.not_after,
            lifetimes: terms.lifetimes,
        })
    }

    /// The same, sending these roots along, and its own where they are not among them.
    #[must_use]
    pub fn publishing(&self, roots: &Roots) -> Self {
        Self {
            sent: roots.and(&self.roots).pem().into(),
            ..self.clone()
        }
    }

    /// Its own roots, first the one that signs.
    pub fn roots(&self) -> &Roots {
        &self.roots
    }

    /// PEM of every root a peer should trust.
    pub fn roots_pem(&self) -> &str {
        &self.sent
    }

    /// Lists of certificates that count no more, PEM; empty without any.
    pub fn crl(&self) -> &str {
        &self.crl
    }

    /// Whether it signs with the same certificate and sends the same along.
    pub fn is_same(&self, other: &Self) -> bool {
        self.signs_like(other) && self.sent == other.sent
    }

    /// Whether it signs with the same certificate.
    pub fn signs_like(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.issuer, &other.issuer)
    }

    /// Until when it can sign.
    pub fn not_after(&self) -> SystemTime {
        self.not_after
    }

    /// Signs a leaf that names `id` and nothing else. `asked` is the lifetime in the request; zero
    /// means the default.
    ///
    /// # Errors
    /// When the authority has expired or the key cannot be signed.
    pub fn sign(
        &self,
        id: &SpiffeId,
        key: &impl PublicKeyData,
        asked: Duration,
        now: SystemTime,
    ) -> Result<Signed, SignError> {
        let uri = id.to_string();
        let name = uri
            .as_str()
            .try_into()
            .map_err(|_| SignError::Name { id: uri.clone() })?;
        let not_after = self.end(asked, now)?;
        let mut params = leaf(now, not_after);
        params.subject_alt_names = vec![SanType::URI(name)];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let certificate = params
            .signed_by(key, &*self.issuer)
            .map_err(|source| SignError::Sign { source })?;
        let mut chain = vec![certificate.pem()];
        chain.extend(self.intermediates.iter().cloned());
        chain.push(self.sent.to_string());
        Ok(Signed { chain, not_after })
    }

    /// Makes a key and a server certificate for our own names.
    ///
    /// # Errors
    /// When the authority has expired, a name is not a DNS name, or cryptography fails.
    pub fn server_certificate(
        &self,
        names: &[String],
        ips: &[IpAddr],
        now: SystemTime,
    ) -> Result<ServerCertificate, SignError> {
        let not_after = self.end(Duration::ZERO, now)?;
        let mut params = leaf(now, not_after);
        for name in names {
            let san = name.as_str().try_into();
            params.subject_alt_names.push(SanType::DnsName(
                san.map_err(|_| SignError::Name { id: name.clone() })?,
            ));
        }
        let ips = ips.iter().map(|ip| SanType::IpAddress(*ip));
        params.subject_alt_names.extend(ips);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let failed = |source| SignError::Sign { source };
        let key = KeyPair::generate().map_err(failed)?;
        let certificate = params.signed_by(&key, &*self.issuer).map_err(failed)?;
        let mut chain = certificate.pem();
        chain.extend(self.intermediates.iter().map(String::as_str));
        Ok(ServerCertificate {
            chain,
            key: key.serialize_pem(),
            not_after,
        })
    }

    fn end(&self, asked: Duration, now: SystemTime) -> Result<SystemTime, SignError> {
        let lifetime = match asked {
            Duration::ZERO => self.lifetimes.default,
            asked => asked,
        };
        if self.not_after <= now {
            return Err(SignError::Expired);
        }
        Ok((now + lifetime.min(self.lifetimes.max)).min(self.not_after))
    }
}

/// What every leaf has: no subject, a random serial, no right to sign.
fn leaf(now: SystemTime, not_after: SystemTime) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    set_validity(&mut params, now - BACKDATE, not_after);
    params.serial_number = Some(serial());
    params.key_usages = vec![
        KeyUsagePurpose::DigitalSignature,
        KeyUsagePurpose::KeyEncipherment,
    ];
    params.use_authority_key_identifier_extension = true;
    params
}

fn set_validity(params: &mut CertificateParams, not_before: SystemTime, not_after: SystemTime) {
    let epoch = rcgen::date_time_ymd(1970, 1, 1);
    let seconds = |t: SystemTime| {
        Duration::from_secs(t.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
    };
    params.not_before = epoch + seconds(not_before);
    params.not_after = epoch + seconds(not_after);
}

/// 127 random bits: positive, as RFC 5280 section 4.1.2.2 asks.
fn serial() -> SerialNumber {
    let mut bytes = [0; 16];
    rand::rng().fill_bytes(&mut bytes);
    bytes[0] &= 0x7f;
    SerialNumber::from_slice(&bytes)
}
