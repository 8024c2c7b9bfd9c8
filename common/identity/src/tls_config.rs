//! rustls configurations of both roles: what [`crate::svid::Svid`] builds once per certificate.
//! TLS 1.3 only, ALPN `h2`, no SNI, no resumption, post-quantum key exchange preferred.

use crate::bundle::TrustBundle;
use crate::provider::provider;
use crate::revocation::Revocations;
use crate::verify::{ExpectPeers, RequireTrustDomain};
use rustls::client::Resumption;
use rustls::server::NoServerSessionStorage;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ServerConfig};
use std::sync::Arc;

/// ALPN protocol of HBONE.
pub(crate) const ALPN: &[u8] = b"h2";

pub(crate) fn client_config(
    certified: &Arc<CertifiedKey>,
    (bundle, revoked): (&Arc<TrustBundle>, &Arc<Revocations>),
) -> ClientConfig {
    let mut config = ClientConfig::builder_with_provider(provider().clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider has suites for TLS 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(ExpectPeers {
            bundle: bundle.clone(),
            revoked: revoked.clone(),
            expected: Arc::new([]),
        }))
        .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified.clone())));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.enable_sni = false;
    config.resumption = Resumption::disabled();
    config
}

pub(crate) fn server_config(
    certified: &Arc<CertifiedKey>,
    (bundle, revoked): (&Arc<TrustBundle>, &Arc<Revocations>),
    trust_domain: &str,
) -> Arc<ServerConfig> {
    let mut config = ServerConfig::builder_with_provider(provider().clone())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .expect("the provider has suites for TLS 1.3")
        .with_client_cert_verifier(Arc::new(RequireTrustDomain {
            bundle: bundle.clone(),
            revoked: revoked.clone(),
            trust_domain: trust_domain.into(),
        }))
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified.clone())));
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Arc::new(config)
}
