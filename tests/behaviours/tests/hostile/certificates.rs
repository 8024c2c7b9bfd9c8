//! Certificates an attacker may have: of the mesh's own authority, of another one, of another
//! trust domain, none.

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, SanType,
};
use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use std::path::Path;
use std::sync::Arc;

/// A certificate authority.
pub(crate) struct Authority(Issuer<'static, KeyPair>);

impl Authority {
    /// The one of a lab's controller.
    pub(crate) fn of_lab(run_dir: &Path) -> Result<Self> {
        let read = |name: &str| {
            let path = run_dir.join("ca").join(name);
            std::fs::read_to_string(&path).with_context(|| path.display().to_string())
        };
        let key = KeyPair::from_pem(&read("root-key.pem")?)?;
        Ok(Self(Issuer::from_ca_cert_pem(
            &read("root-cert.pem")?,
            key,
        )?))
    }

    /// With this certificate and key, PEM.
    #[allow(dead_code, reason = "shared with changes of roots")]
    pub(crate) fn of(certificate: &str, key: &str) -> Result<Self> {
        let key = KeyPair::from_pem(key)?;
        Ok(Self(Issuer::from_ca_cert_pem(certificate, key)?))
    }

    /// One nobody has heard of.
    pub(crate) fn foreign() -> Result<Self> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Ok(Self(Issuer::new(params, KeyPair::generate()?)))
    }

    /// A leaf with `sans`, good for both ends of a connection.
    pub(crate) fn leaf(&self, sans: Vec<SanType>) -> Result<(rcgen::Certificate, KeyPair)> {
        let key = KeyPair::generate()?;
        Ok((leaf_params(sans).signed_by(&key, &self.0)?, key))
    }

    /// What a client says that shows a certificate with this URI.
    pub(crate) fn client(&self, uri: &str) -> Result<Arc<ClientConfig>> {
        let leaf = self.leaf(vec![SanType::URI(uri.try_into()?)])?;
        showing(leaf, None)
    }

    /// The same with this serial number, and with the authority's own certificate, PEM, which is below a root.
    #[allow(dead_code, reason = "shared with changes of roots")]
    pub(crate) fn client_below(
        &self,
        uri: &str,
        (serial, own): (u64, &str),
    ) -> Result<Arc<ClientConfig>> {
        let mut params = leaf_params(vec![SanType::URI(uri.try_into()?)]);
        params.serial_number = Some(serial.into());
        let key = KeyPair::generate()?;
        let leaf = (params.signed_by(&key, &self.0)?, key);
        showing(leaf, Some(CertificateDer::from_pem_slice(own.as_bytes())?))
    }
}

fn leaf_params(sans: Vec<SanType>) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = sans;
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ClientAuth,
        ExtendedKeyUsagePurpose::ServerAuth,
    ];
    params
}

fn showing(
    (leaf, key): (rcgen::Certificate, KeyPair),
    above: Option<CertificateDer<'static>>,
) -> Result<Arc<ClientConfig>> {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let chain = std::iter::once(leaf.der().clone()).chain(above).collect();
    let config = trusting_anybody().with_client_auth_cert(chain, key)?;
    Ok(speaking_h2(config))
}

/// What a server says that shows this leaf.
pub(crate) fn server((leaf, key): (rcgen::Certificate, KeyPair)) -> Result<Arc<ServerConfig>> {
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)?;
    config.alpn_protocols = vec![b"h2".to_vec()];
    Ok(Arc::new(config))
}

/// What a client says that shows no certificate.
pub(crate) fn anonymous() -> Arc<ClientConfig> {
    speaking_h2(trusting_anybody().with_no_client_auth())
}

fn speaking_h2(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.alpn_protocols = vec![b"h2".to_vec()];
    config.enable_sni = false;
    Arc::new(config)
}

fn trusting_anybody() -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider has suites for TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody(provider)))
}

/// An attacker does not mind whom it attacks.
#[derive(Debug)]
struct Anybody(Arc<rustls::crypto::CryptoProvider>);

impl rustls::client::danger::ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &rustls_pki_types::ServerName<'_>,
        _ocsp: &[u8],
        _now: rustls_pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
