//! Which signer is asked, and for how long.
//! In: settings, what a request names. Out: a `signerName`, seconds. Pure.
//! Source: Istio's `K8S_SIGNER`, `CERT_SIGNER_DOMAIN`, `CertSigner` of a request's metadata.

use crate::authority::Lifetimes;
use std::time::Duration;
use thiserror::Error;

/// Longest name of a signer that is looked at (the API takes no more).
const MAX_NAME: usize = 571;
/// Shortest lifetime the API takes.
const SHORTEST: Duration = Duration::from_secs(600);
/// What signers of this domain sign is believed by the cluster itself.
const CLUSTER: &str = "kubernetes.io";

/// Signers that may be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signers {
    default: String,
    domain: Option<String>,
}

/// Why there is no signer to ask.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SignerError {
    /// There is no default.
    #[error(
        "K8S_SIGNER is empty: node proxies, and the controller's own certificate, name no signer"
    )]
    NoDefault,
    /// Not `<domain>/<path>`.
    #[error("`{name}` is no name of a signer (<domain>/<name>)")]
    Form {
        /// What was given.
        name: String,
    },
    /// It signs for the cluster.
    #[error("`{name}` signs for the cluster itself: what it signs is no certificate of a mesh")]
    OfTheCluster {
        /// What was given.
        name: String,
    },
    /// A request names one, and there is no domain to look for it.
    #[error("the request names signer `{name}`, and CERT_SIGNER_DOMAIN is not set")]
    NoDomain {
        /// What it names.
        name: String,
    },
}

impl Signers {
    /// The signer of requests that name none, and the domain of those that requests name; empty: they may name none.
    ///
    /// # Errors
    /// [`SignerError`].
    pub fn new(default: &str, domain: &str) -> Result<Self, SignerError> {
        if default.is_empty() {
            return Err(SignerError::NoDefault);
        }
        check(default)?;
        let domain = match domain {
            "" => None,
            domain => {
                check(&format!("{domain}/name"))?;
                Some(domain.to_owned())
            }
        };
        Ok(Self {
            default: default.to_owned(),
            domain,
        })
    }

    /// The signer of requests that name none.
    pub fn default_signer(&self) -> &str {
        &self.default
    }

    /// The signer of a request that names this one; empty: none.
    ///
    /// # Errors
    /// [`SignerError`].
    pub fn of(&self, named: &str) -> Result<String, SignerError> {
        if named.is_empty() {
            return Ok(self.default.clone());
        }
        let short: String = named.chars().take(MAX_NAME).collect();
        let Some(domain) = &self.domain else {
            return Err(SignerError::NoDomain { name: short });
        };
        if named.contains('/') {
            return Err(SignerError::Form { name: short });
        }
        let name = format!("{domain}/{named}");
        check(&name)?;
        Ok(name)
    }
}

/// What is asked for when a request asks for `asked`; zero: it names none.
pub fn lifetime(asked: Duration, lifetimes: &Lifetimes) -> Duration {
    let wanted = match asked {
        Duration::ZERO => lifetimes.default,
        asked => asked,
    };
    wanted.min(lifetimes.max).max(SHORTEST)
}

fn check(name: &str) -> Result<(), SignerError> {
    let form = || SignerError::Form {
        name: name.chars().take(MAX_NAME).collect(),
    };
    let (domain, path) = name.split_once('/').ok_or_else(form)?;
    if name.len() > MAX_NAME || !domain.contains('.') || !is_name(domain) {
        return Err(form());
    }
    if !path.split('/').all(is_name) {
        return Err(form());
    }
    if domain == CLUSTER || domain.ends_with(".kubernetes.io") {
        return Err(SignerError::OfTheCluster {
            name: name.to_owned(),
        });
    }
    Ok(())
}

/// RFC 1123 subdomain, as the API wants both parts; upper case is for paths of cert-manager's kind.
fn is_name(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.' || b == b'_';
    let ends = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_alphanumeric());
    let bytes = text.as_bytes();
    text.bytes().all(inner) && ends(bytes.first().copied()) && ends(bytes.last().copied())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_of_the_default_signer_or_of_one_of_the_domain() {
        let alone = Signers::new("issuers.example.org/mesh.ca", "").unwrap();
        assert_eq!(alone.of("").unwrap(), "issuers.example.org/mesh.ca");
        let name = "other".to_owned();
        assert_eq!(alone.of("other"), Err(SignerError::NoDomain { name }));
        let both = Signers::new("a.example/b", "clusterissuers.cert-manager.io").unwrap();
        assert_eq!(
            both.of("foo").unwrap(),
            "clusterissuers.cert-manager.io/foo"
        );
        assert_eq!(both.of("").unwrap(), "a.example/b");
        for bad in ["../x", "a/b", " ", "a\nb", "-a", &"a".repeat(600)] {
            assert!(
                matches!(both.of(bad), Err(SignerError::Form { .. })),
                "{bad}"
            );
        }
    }

    #[test]
    fn no_default_no_domain_and_signers_of_the_cluster_are_refused() {
        assert_eq!(Signers::new("", "a.example"), Err(SignerError::NoDefault));
        for bad in ["mesh", "a/b", "/b", "a.example/", "a.example/b/"] {
            let refused = Signers::new(bad, "");
            assert!(matches!(refused, Err(SignerError::Form { .. })), "{bad}");
        }
        for bad in ["kubernetes.io/kube-apiserver-client", "x.kubernetes.io/y"] {
            let refused = Signers::new(bad, "");
            assert!(
                matches!(refused, Err(SignerError::OfTheCluster { .. })),
                "{bad}"
            );
        }
        let refused = Signers::new("a.example/b", "kubernetes.io");
        assert!(matches!(refused, Err(SignerError::OfTheCluster { .. })));
    }

    #[test]
    fn a_lifetime_is_between_what_the_api_takes_and_what_is_allowed() {
        let lifetimes = Lifetimes::default();
        let hour = Duration::from_secs(3600);
        assert_eq!(lifetime(Duration::ZERO, &lifetimes), 24 * hour);
        assert_eq!(lifetime(hour, &lifetimes), hour);
        assert_eq!(lifetime(hour / 3600, &lifetimes), SHORTEST);
        assert_eq!(lifetime(24 * hour * 365, &lifetimes), lifetimes.max);
    }
}
