//! What an authority is made of, out of PEM. Pure; paths only name things in errors.

use super::error::OpenError;
use super::{BACKDATE, SelfSigned, serial, set_validity};
use crate::roots::{Roots, pem_of};
use ambit_identity::Revocations;
use ambit_identity::revocation::RevocationError;
use ambit_runtime::causes::causes;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PKCS_RSA_SHA256,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Which lists of revoked certificates count.
#[derive(Clone, Copy, Debug)]
pub(super) enum Lists {
    /// Those that no newer one should have replaced.
    OfNow,
    /// All: an old one is better than none.
    AsTheyAre,
}

/// An authority as Istio's secrets hold it, each part PEM.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Pem {
    /// `ca-cert.pem`: the certificate that signs.
    pub ca_cert: String,
    /// `ca-key.pem`: its key, PKCS#8, PKCS#1 or SEC 1.
    pub ca_key: String,
    /// `cert-chain.pem`: intermediates; may be empty.
    pub cert_chain: String,
    /// `root-cert.pem`: every root; empty when the signing certificate is the root.
    pub root_cert: String,
    /// `ca-crl.pem`: lists of revoked certificates; may be empty.
    pub crl: String,
}

impl Pem {
    /// A new self-signed root.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn self_signed(form: &SelfSigned<'_>, now: SystemTime) -> Result<Self, OpenError> {
        let path = Path::new("a new root");
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(|e| content(path, &e))?;
        let cert = root(path, form, &key, now)?;
        Ok(Self::of_root(cert, key.serialize_pem()))
    }

    /// A self-signed root of a key that is there.
    pub(super) fn of_key(
        form: &SelfSigned<'_>,
        ca_key: String,
        now: SystemTime,
    ) -> Result<Self, OpenError> {
        let path = Path::new("the self-signed root");
        let made = root(path, form, &key(path, &ca_key)?, now)?;
        Ok(Self::of_root(made, ca_key))
    }

    /// A root that signs by itself.
    pub(super) fn of_root(cert: String, ca_key: String) -> Self {
        Self {
            ca_cert: cert.clone(),
            ca_key,
            cert_chain: String::new(),
            root_cert: cert,
            crl: String::new(),
        }
    }

    /// Whether the signing certificate is the root, and the only one.
    pub fn is_self_signed(&self) -> bool {
        let root = self.root_cert.trim();
        root.is_empty() || root == self.ca_cert.trim()
    }

    /// A self-signed root with the same key and a new life, when little is left of the present one's.
    /// Leaves of before verify under it as well.
    ///
    /// # Errors
    /// When a part cannot be read or the root not be signed.
    pub fn renewed(
        &self,
        form: &SelfSigned<'_>,
        now: SystemTime,
    ) -> Result<Option<Self>, OpenError> {
        let path = Path::new("the self-signed root");
        let der = one(path, &self.ca_cert)?;
        let cert = parse(path, &der)?;
        let seconds = |t: i64| Duration::from_secs(u64::try_from(t).unwrap_or(0));
        let from = UNIX_EPOCH + seconds(cert.validity().not_before.timestamp());
        let until = UNIX_EPOCH + seconds(cert.validity().not_after.timestamp());
        let life = until.duration_since(from).unwrap_or_default();
        let left = until.duration_since(now).unwrap_or_default();
        if left > life.mul_f64(f64::from(form.grace_percent.min(100)) / 100.0) {
            return Ok(None);
        }
        let made = root(path, form, &key(path, &self.ca_key)?, now)?;
        Ok(Some(Self::of_root(made, self.ca_key.clone())))
    }
}

/// Never shows the key.
impl std::fmt::Debug for Pem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pem").finish_non_exhaustive()
    }
}

/// What an authority is made of.
pub(super) struct Material {
    pub(super) issuer: Arc<Issuer<'static, KeyPair>>,
    /// The certificate that signs, and those above it that were given, roots too.
    pub(super) signing: Vec<CertificateDer<'static>>,
    /// Those that are sent along: without roots.
    pub(super) above: Vec<CertificateDer<'static>>,
    pub(super) roots: Roots,
    /// Lists of revoked certificates, PEM.
    pub(super) crl: String,
    /// End of the first of them that ends.
    pub(super) not_after: SystemTime,
}

impl Material {
    /// Checks that the parts belong together. `place` names them in errors.
    pub(super) fn new(
        place: &Path,
        pem: &Pem,
        (lists, now): (Lists, SystemTime),
    ) -> Result<Self, OpenError> {
        let path = place.join("ca-cert.pem");
        let signing = one(&path, &pem.ca_cert)?;
        let key_path = place.join("ca-key.pem");
        let key = key(&key_path, &pem.ca_key)?;
        check_pair(&path, &signing, &key)?;
        let chain_path = place.join("cert-chain.pem");
        let mut chain = vec![signing.clone()];
        for der in all(&chain_path, &pem.cert_chain)? {
            if !chain.contains(&der) {
                chain.push(der);
            }
        }
        let roots = match pem.root_cert.trim().is_empty() {
            true => &pem.ca_cert,
            false => &pem.root_cert,
        };
        let roots =
            Roots::from_pem(roots).map_err(|e| content(&place.join("root-cert.pem"), &e))?;
        let mut not_after = end(&path, &signing)?;
        for der in &chain {
            not_after = not_after.min(end(&chain_path, der)?);
        }
        let crl_path = place.join("ca-crl.pem");
        let revoked = Revocations::from_pem(&pem.crl);
        let revoked = revoked.map_err(|e| content(&crl_path, &causes(&e)))?;
        let signers: Vec<_> = chain.iter().chain(roots.iter()).cloned().collect();
        if revoked.names(&chain) {
            let what = "it revokes the certificate that signs, or one above it";
            return Err(content(&crl_path, &what));
        }
        match (revoked.prove(&signers, now), lists) {
            (Ok(()), _) | (Err(RevocationError::Outdated { .. }), Lists::AsTheyAre) => {}
            (Err(source @ RevocationError::Outdated { .. }), Lists::OfNow) => {
                let path = crl_path;
                return Err(OpenError::Outdated { path, source });
            }
            (Err(error), _) => return Err(content(&crl_path, &causes(&error))),
        }
        // Chain files often end with the root, which goes into the last element of a reply instead.
        let above = chain.iter().filter(|der| !roots.contains(der));
        Ok(Self {
            issuer: Arc::new(issuer(&path, &signing, key)?),
            above: above.cloned().collect(),
            signing: chain,
            roots,
            crl: pem.crl.trim().to_owned(),
            not_after,
        })
    }

    /// Those that are sent along, PEM, one each.
    pub(super) fn intermediates(&self) -> Vec<String> {
        self.above.iter().map(pem_of).collect()
    }
}

/// A root certificate of this key.
pub(super) fn root(
    path: &Path,
    form: &SelfSigned<'_>,
    key: &KeyPair,
    now: SystemTime,
) -> Result<String, OpenError> {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params
        .distinguished_name
        .push(DnType::OrganizationName, form.trust_domain);
    set_validity(&mut params, now - BACKDATE, now + form.lifetime);
    params.serial_number = Some(serial());
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let root = params.self_signed(key).map_err(|e| content(path, &e))?;
    Ok(root.pem())
}

fn issuer(
    path: &Path,
    der: &CertificateDer<'_>,
    key: KeyPair,
) -> Result<Issuer<'static, KeyPair>, OpenError> {
    Issuer::from_ca_cert_der(der, key).map_err(|e| content(path, &e))
}

pub(super) fn key(path: &Path, pem: &str) -> Result<KeyPair, OpenError> {
    let der = PrivateKeyDer::from_pem_slice(pem.as_bytes())
        .map_err(|e| content(path, &format!("{e:?}")))?;
    // PKCS#1 and SEC 1 do not name the algorithm in a way that is read for us: try those we sign with.
    let tried = [
        &PKCS_ECDSA_P256_SHA256,
        &PKCS_ECDSA_P384_SHA384,
        &PKCS_RSA_SHA256,
    ];
    tried
        .into_iter()
        .find_map(|algorithm| KeyPair::from_der_and_sign_algo(&der, algorithm).ok())
        .ok_or_else(|| content(path, &"it is no ECDSA P-256, P-384 or RSA key"))
}

fn check_pair(path: &Path, der: &CertificateDer<'_>, key: &KeyPair) -> Result<(), OpenError> {
    let cert = parse(path, der)?;
    if cert.public_key().subject_public_key.data.as_ref() != key.public_key_raw() {
        return Err(content(path, &"the key beside it is not its own"));
    }
    if !cert.is_ca() {
        return Err(content(path, &"it is not a certificate authority's"));
    }
    Ok(())
}

pub(super) fn end(path: &Path, der: &CertificateDer<'_>) -> Result<SystemTime, OpenError> {
    let seconds = parse(path, der)?.validity().not_after.timestamp();
    Ok(UNIX_EPOCH + Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}

fn parse<'a>(path: &Path, der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, OpenError> {
    match X509Certificate::from_der(der) {
        Ok((_, cert)) => Ok(cert),
        Err(e) => Err(content(path, &e)),
    }
}

pub(super) fn one(path: &Path, pem: &str) -> Result<CertificateDer<'static>, OpenError> {
    all(path, pem)?
        .into_iter()
        .next()
        .ok_or_else(|| content(path, &"there is no certificate in it"))
}

fn all(path: &Path, pem: &str) -> Result<Vec<CertificateDer<'static>>, OpenError> {
    CertificateDer::pem_slice_iter(pem.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|e| content(path, &format!("{e:?}")))
}

pub(super) fn content(path: &Path, what: &dyn ToString) -> OpenError {
    OpenError::Content {
        path: path.to_owned(),
        what: what.to_string(),
    }
}
