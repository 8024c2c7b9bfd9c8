//! How to reach a control-plane server over TLS: shared by the CA client and the xDS client.
//! In: an address, where the roots are, a name override. Out: a tonic `Endpoint`; bearer tokens.
//! Roots and tokens are files that change under us: they are read at each use, not watched.
//! Must not happen here: a connection without TLS, a token logged.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, ClientTlsConfig, Endpoint};

/// Longest time for TCP and TLS to the server.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// HTTP/2 PING to an otherwise silent server, and how long its answer may take.
const PING_INTERVAL: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// Bundles of public roots of the usual distributions.
const SYSTEM_BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Where the roots that verify a server come from (`CA_ROOT_CA`, `XDS_ROOT_CA`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootSource {
    /// A PEM file, read at each connection.
    File(PathBuf),
    /// PEM itself.
    Pem(String),
    /// The machine's public roots.
    System,
}

impl RootSource {
    /// Reads a setting: `SYSTEM`, inline PEM, or a path.
    pub fn parse(value: &str) -> Self {
        if value == "SYSTEM" {
            Self::System
        } else if value.contains("-----BEGIN") {
            Self::Pem(value.to_owned())
        } else {
            Self::File(value.into())
        }
    }

    /// The roots now, PEM.
    ///
    /// # Errors
    /// [`GrpcTlsError::Roots`], [`GrpcTlsError::NoSystemRoots`].
    pub async fn read(&self) -> Result<String, GrpcTlsError> {
        match self {
            Self::Pem(pem) => Ok(pem.clone()),
            Self::File(path) => read_text(path).await.map_err(|source| GrpcTlsError::Roots {
                path: path.clone(),
                source,
            }),
            Self::System => {
                for path in SYSTEM_BUNDLES {
                    if let Ok(pem) = read_text(Path::new(path)).await {
                        return Ok(pem);
                    }
                }
                Err(GrpcTlsError::NoSystemRoots)
            }
        }
    }
}

/// A control-plane server.
#[derive(Clone, Debug)]
pub struct GrpcServer {
    /// `https://host:port`, or `host:port`, which gets `https://`.
    pub address: String,
    /// Who may have signed its certificate.
    pub roots: RootSource,
    /// Name its certificate must carry instead of the address' host (`ALT_CA_HOSTNAME`,
    /// `ALT_XDS_HOSTNAME`).
    pub server_name: Option<String>,
}

/// Why a server cannot be reached securely.
#[derive(Debug, Error)]
pub enum GrpcTlsError {
    /// The root file cannot be read.
    #[error("roots {} cannot be read", path.display())]
    Roots {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// `SYSTEM` on a machine without a bundle in the usual places.
    #[error("this machine has no bundle of public roots")]
    NoSystemRoots,
    /// Not an address.
    #[error("`{address}` is not an address")]
    Address {
        /// What was given.
        address: String,
        /// Why.
        #[source]
        source: tonic::transport::Error,
    },
    /// A scheme without TLS.
    #[error("`{address}` is not an https address")]
    NotTls {
        /// What was given.
        address: String,
    },
    /// The roots or the name cannot be used.
    #[error("TLS cannot be set up")]
    Tls(#[source] tonic::transport::Error),
}

impl GrpcServer {
    /// How to connect with these roots (see [`RootSource::read`]): TLS, deadlines, PINGs.
    ///
    /// # Errors
    /// [`GrpcTlsError`].
    pub fn endpoint(&self, roots_pem: &str) -> Result<Endpoint, GrpcTlsError> {
        let address = match self.address.split_once("://") {
            None => format!("https://{}", self.address),
            Some(("https", _)) => self.address.clone(),
            Some(_) => {
                return Err(GrpcTlsError::NotTls {
                    address: self.address.clone(),
                });
            }
        };
        let endpoint = Endpoint::from_shared(address.clone())
            .map_err(|source| GrpcTlsError::Address { address, source })?;
        let mut tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(roots_pem))
            .timeout(CONNECT_DEADLINE);
        if let Some(name) = &self.server_name {
            tls = tls.domain_name(name.clone());
        }
        Ok(endpoint
            .tls_config(tls)
            .map_err(GrpcTlsError::Tls)?
            .connect_timeout(CONNECT_DEADLINE)
            .http2_keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT)
            .keep_alive_while_idle(true))
    }
}

/// Where the bearer token comes from (`AUTH_TOKEN`).
#[derive(Clone)]
pub enum TokenSource {
    /// A file, read at each request.
    File(PathBuf),
    /// The token itself.
    Literal(String),
}

impl std::fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Literal(_) => f.write_str("Literal(…)"),
        }
    }
}

/// Why there is no token to send.
#[derive(Debug, Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("token {} cannot be read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It holds characters a header may not have, or nothing.
    #[error("the token is empty or not a valid header value")]
    Value,
}

impl TokenSource {
    /// Value of the `authorization` header now.
    ///
    /// # Errors
    /// [`TokenError`].
    pub async fn bearer(&self) -> Result<MetadataValue<Ascii>, TokenError> {
        let text = match self {
            Self::Literal(token) => token.clone(),
            Self::File(path) => read_text(path).await.map_err(|source| TokenError::File {
                path: path.clone(),
                source,
            })?,
        };
        let token = text.trim();
        if token.is_empty() {
            return Err(TokenError::Value);
        }
        let mut value: MetadataValue<Ascii> = format!("Bearer {token}")
            .parse()
            .map_err(|_| TokenError::Value)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

async fn read_text(path: &Path) -> io::Result<String> {
    tokio::fs::read_to_string(path).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_name_a_path_the_system_or_hold_pem() {
        assert_eq!(RootSource::parse("SYSTEM"), RootSource::System);
        assert_eq!(
            RootSource::parse("./a/root-cert.pem"),
            RootSource::File("./a/root-cert.pem".into())
        );
        assert!(matches!(
            RootSource::parse("-----BEGIN CERTIFICATE-----\n"),
            RootSource::Pem(_)
        ));
    }

    #[test]
    fn only_tls_addresses_are_accepted() {
        let ca = crate::InProcessCa::new("test").unwrap();
        let endpoint = |address: &str| {
            GrpcServer {
                address: address.to_owned(),
                roots: RootSource::System,
                server_name: None,
            }
            .endpoint(ca.root_pem())
        };
        for good in ["127.0.0.1:15012", "https://istiod.istio-system.svc:15012"] {
            assert!(endpoint(good).is_ok(), "{good}");
        }
        assert!(matches!(
            endpoint("http://127.0.0.1:15012"),
            Err(GrpcTlsError::NotTls { .. })
        ));
        assert!(matches!(endpoint("a b"), Err(GrpcTlsError::Address { .. })));
    }

    #[tokio::test]
    async fn a_token_file_is_read_at_each_use_and_trimmed() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let token = TokenSource::File(file.path().into());
        assert!(matches!(token.bearer().await, Err(TokenError::Value)));
        for text in ["one\n", "two"] {
            std::fs::write(file.path(), text).unwrap();
            let value = token.bearer().await.unwrap();
            assert_eq!(value.to_str().unwrap(), format!("Bearer {}", text.trim()));
            assert!(value.is_sensitive());
        }
        std::fs::write(file.path(), "a\nb").unwrap();
        assert!(matches!(token.bearer().await, Err(TokenError::Value)));
    }
}
