//! Whether what an authority signs will be believed: it signs a leaf, which is verified as a peer does.
//! In: an authority's parts, its roots, the time. Out: the root it verifies to, or what is wrong with which part.
//! Must not happen here: a check that differs from what proxies check.
//! Spec: RFC 5280 section 6; SPIFFE X.509-SVID section 4.

use super::error::OpenError;
use super::material::{Material, content, end};
use super::{Terms, leaf};
use crate::roots::Roots;
use ambit_identity::TrustBundle;
use ambit_identity::verify::{Chain, root_of};
use ambit_runtime::causes::causes;
use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, SanType};
use rustls_pki_types::{CertificateDer, UnixTime};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// How long the leaf lives.
const LIFE: Duration = Duration::from_secs(60);

/// The roots, first the one that leaves of this authority verify to.
pub(super) fn prove(
    place: &Path,
    material: &Material,
    terms: &Terms<'_>,
) -> Result<Roots, OpenError> {
    let root_path = place.join("root-cert.pem");
    let signing_path = place.join("ca-cert.pem");
    for der in &material.signing {
        of_trust_domain(&signing_path, der, terms.trust_domain)?;
    }
    let certificate = probe(&signing_path, material, terms)?;
    let mut refusal = None;
    for root in material.roots.iter() {
        match verify(&certificate, &material.above, root, terms) {
            Ok(()) if end(&root_path, root)? <= terms.now => {
                refusal = Some("the root that signs has expired".to_owned());
            }
            Ok(()) => return Ok(material.roots.led_by(root)),
            Err(error) if refusal.is_none() => {
                refusal = Some(format!("no root in it signs ca-cert.pem: {error}"));
            }
            Err(_) => {}
        }
    }
    let refusal = refusal.unwrap_or_else(|| "there is no certificate in it".to_owned());
    Err(content(&root_path, &refusal))
}

fn probe(
    path: &Path,
    material: &Material,
    terms: &Terms<'_>,
) -> Result<CertificateDer<'static>, OpenError> {
    if material.not_after <= terms.now {
        return Err(content(path, &"it, or a certificate above it, has expired"));
    }
    let failed = |e: rcgen::Error| content(path, &format!("it cannot sign: {e}"));
    let mut params = leaf(terms.now, terms.now + LIFE);
    let uri = format!("spiffe://{}/ns/probe/sa/probe", terms.trust_domain);
    let uri = uri.as_str().try_into().map_err(failed)?;
    params.subject_alt_names = vec![SanType::URI(uri)];
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
    let made = params.signed_by(&key, &*material.issuer).map_err(failed)?;
    Ok(made.der().clone())
}

fn verify(
    leaf: &CertificateDer<'_>,
    above: &[CertificateDer<'_>],
    root: &CertificateDer<'static>,
    terms: &Terms<'_>,
) -> Result<(), String> {
    let root = TrustBundle::new(vec![root.clone()]).map_err(|e| causes(&e))?;
    let since = terms.now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let chain = Chain {
        leaf,
        intermediates: above,
        now: UnixTime::since_unix_epoch(since),
    };
    root_of(&root, chain).map(drop).map_err(|e| causes(&e))
}

/// An authority that names a trust domain may not sign for another.
fn of_trust_domain(
    path: &Path,
    der: &CertificateDer<'_>,
    trust_domain: &str,
) -> Result<(), OpenError> {
    let (_, cert) = X509Certificate::from_der(der).map_err(|e| content(path, &e))?;
    let names = cert.subject_alternative_name().ok().flatten();
    let names = names.map(|n| n.value.general_names.as_slice());
    for name in names.unwrap_or_default() {
        let GeneralName::URI(uri) = name else {
            continue;
        };
        let Some(rest) = uri.strip_prefix("spiffe://") else {
            continue;
        };
        let named = rest.split('/').next().unwrap_or_default();
        if !named.eq_ignore_ascii_case(trust_domain) {
            let what = format!("it is of trust domain {named}, not of {trust_domain}");
            return Err(content(path, &what));
        }
    }
    Ok(())
}
