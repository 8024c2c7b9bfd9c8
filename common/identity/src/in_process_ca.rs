//! A certificate authority inside the process, for set-ups without a controller and for tests of
//! what needs certificates.
//! In: signing requests. Out: leaves under one self-made root. Nothing is stored.
//! Must not happen here: a caller's identity trusted; whoever holds the value may ask for anything.

use crate::authority::{Authority, CaError, SignRequest, obtain};
use crate::csr;
use crate::svid::Svid;
use ambit_model::ids::SpiffeId;
use futures::future::BoxFuture;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use std::time::{Duration, SystemTime};

/// How far back certificates start, so that peers whose clock is behind accept them.
const BACKDATE: Duration = Duration::from_secs(120);

/// A self-made root and its key.
#[derive(Debug)]
pub struct InProcessCa {
    issuer: Issuer<'static, KeyPair>,
    root_pem: String,
}

impl InProcessCa {
    /// A new root named `name`.
    ///
    /// # Errors
    /// [`CaError::Signing`].
    pub fn new(name: &str) -> Result<Self, CaError> {
        let key = KeyPair::generate().map_err(CaError::Signing)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params
            .distinguished_name
            .push(DnType::OrganizationName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let now = SystemTime::now();
        params.not_before = (now - BACKDATE).into();
        params.not_after = (now + Duration::from_secs(3650 * 24 * 3600)).into();
        let root = params.self_signed(&key).map_err(CaError::Signing)?;
        Ok(Self {
            root_pem: root.pem(),
            issuer: Issuer::new(params, key),
        })
    }

    /// The root, PEM.
    pub fn root_pem(&self) -> &str {
        &self.root_pem
    }

    /// Signs a leaf valid from `from` until `until`, whatever the request says about names.
    ///
    /// # Errors
    /// [`CaError::Signing`], [`CaError::Csr`].
    pub fn sign_between(
        &self,
        request: &SignRequest,
        from: SystemTime,
        until: SystemTime,
    ) -> Result<Vec<String>, CaError> {
        let asked = CertificateSigningRequestParams::from_pem(&request.csr_pem)
            .map_err(CaError::Signing)?;
        let mut params = csr::params(&request.id).map_err(CaError::Csr)?;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        params.not_before = from.into();
        params.not_after = until.into();
        let leaf = params
            .signed_by(&asked.public_key, &self.issuer)
            .map_err(CaError::Signing)?;
        Ok(vec![leaf.pem(), self.root_pem.clone()])
    }

    /// A certificate for `id`, valid for `validity` from now.
    ///
    /// # Errors
    /// [`CaError`].
    pub async fn svid(&self, id: &SpiffeId, validity: Duration) -> Result<Svid, CaError> {
        obtain(self, id, validity).await
    }
}

impl Authority for InProcessCa {
    fn sign(&self, request: SignRequest) -> BoxFuture<'_, Result<Vec<String>, CaError>> {
        let now = SystemTime::now();
        let reply = self.sign_between(&request, now - BACKDATE, now + request.validity);
        Box::pin(std::future::ready(reply))
    }
}
