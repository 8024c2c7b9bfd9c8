//! Bearer token → [`Caller`]. A token counts only with a signature of a key in the JWKS file, our
//! audience, a time at which it is valid, and claims that agree with each other.
//! In: the token and the time. Out: a caller, or a named reason for the log.
//! Spec: RFC 7519; claims of a bound Kubernetes service account token.

use crate::caller::{BoundPod, Caller, ServiceAccount};
use crate::jwks::{JwksError, JwksFile};
use jsonwebtoken::errors::Error as JwtError;
use jsonwebtoken::{Algorithm, Validation};
use serde::Deserialize;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use thiserror::Error;

/// Audience a token must be made for.
pub const AUDIENCE: &str = "istio-ca";
/// Longest token that is looked at, in bytes.
pub const MAX_TOKEN: usize = 16 * 1024;
/// How far `nbf` may lie ahead: clocks of nodes differ.
const SKEW: Duration = Duration::from_secs(30);
const SUBJECT_PREFIX: &str = "system:serviceaccount:";

/// Why a token is not accepted. For the log: the caller only learns that it was not.
#[derive(Debug, Error)]
pub enum AuthError {
    /// There is none.
    #[error("the request carries no bearer token")]
    Missing,
    /// It is longer than a token can be.
    #[error("the token has {len} bytes, more than {MAX_TOKEN}")]
    TooLong {
        /// Bytes.
        len: usize,
    },
    /// It is not a token.
    #[error("the token cannot be read")]
    Malformed {
        /// Cause.
        #[source]
        source: JwtError,
    },
    /// The API server does not accept it.
    #[error("the API server does not accept the token: {reason}")]
    Refused {
        /// In its words.
        reason: String,
    },
    /// Its algorithm is not on the allow-list.
    #[error("the token is signed with {algorithm:?}; ES256 and RS256 are accepted")]
    Algorithm {
        /// As the header names it.
        algorithm: Algorithm,
    },
    /// No key has its id and algorithm.
    #[error("no key {kid:?} for {algorithm:?} is known")]
    UnknownKey {
        /// As the header names it.
        kid: Option<String>,
        /// As the header names it.
        algorithm: Algorithm,
    },
    /// No key verifies it.
    #[error("the signature or the claims of the token are not valid")]
    Invalid {
        /// Cause.
        #[source]
        source: JwtError,
    },
    /// Its time is over.
    #[error("the token expired {seconds} s ago")]
    Expired {
        /// Since then.
        seconds: u64,
    },
    /// Its time has not come.
    #[error("the token becomes valid in {seconds} s")]
    NotYetValid {
        /// Until then.
        seconds: u64,
    },
    /// It was made for someone else.
    #[error("the token is made for {audience:?}, not for {AUDIENCE}")]
    Audience {
        /// `aud`.
        audience: Vec<String>,
    },
    /// `sub` is not a service account.
    #[error("the subject `{subject}` is not a service account")]
    Subject {
        /// `sub`.
        subject: String,
    },
    /// `sub` and `kubernetes.io` name different accounts.
    #[error("the subject names {subject}, but kubernetes.io names {bound}")]
    Disagreement {
        /// From `sub`.
        subject: ServiceAccount,
        /// From `kubernetes.io`.
        bound: ServiceAccount,
    },
}

/// Verifies tokens against the keys of one JWKS file.
pub struct Authenticator {
    keys: JwksFile,
}

impl Authenticator {
    /// Reads the keys.
    ///
    /// # Errors
    /// When the file cannot be read or holds no usable key.
    pub fn open(jwks: &Path, now: SystemTime) -> Result<Self, JwksError> {
        Ok(Self {
            keys: JwksFile::open(jwks, now)?,
        })
    }

    /// Verifies the value of an `authorization` header.
    ///
    /// # Errors
    /// The first reason the token does not count.
    pub fn authenticate_header(
        &self,
        header: Option<&str>,
        now: SystemTime,
    ) -> Result<Caller, AuthError> {
        self.authenticate(bearer(header)?, now)
    }

    /// Verifies a token.
    ///
    /// # Errors
    /// The first reason it does not count.
    pub fn authenticate(&self, token: &str, now: SystemTime) -> Result<Caller, AuthError> {
        if token.len() > MAX_TOKEN {
            return Err(AuthError::TooLong { len: token.len() });
        }
        let header =
            jsonwebtoken::decode_header(token).map_err(|source| AuthError::Malformed { source })?;
        let algorithm = header.alg;
        if !matches!(algorithm, Algorithm::ES256 | Algorithm::RS256) {
            return Err(AuthError::Algorithm { algorithm });
        }
        let claims = self.verified(token, header.kid, algorithm, now)?;
        check_time(&claims, now)?;
        claims.into_caller()
    }

    fn verified(
        &self,
        token: &str,
        kid: Option<String>,
        algorithm: Algorithm,
        now: SystemTime,
    ) -> Result<Claims, AuthError> {
        // Time and audience are checked here with the caller's clock.
        let mut validation = Validation::new(algorithm);
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims.clear();
        let keys = self.keys.keys(kid.as_deref(), now);
        let mut failure = None;
        for key in keys.candidates(kid.as_deref(), algorithm) {
            match jsonwebtoken::decode::<Claims>(token, &key.decoding, &validation) {
                Ok(token) => return Ok(token.claims),
                Err(source) => failure = Some(AuthError::Invalid { source }),
            }
        }
        Err(failure.unwrap_or(AuthError::UnknownKey { kid, algorithm }))
    }
}

/// The token in the value of an `authorization` header.
///
/// # Errors
/// [`AuthError::Missing`], [`AuthError::TooLong`].
pub fn bearer(header: Option<&str>) -> Result<&str, AuthError> {
    let (scheme, token) = header
        .and_then(|h| h.trim().split_once(' '))
        .ok_or(AuthError::Missing)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(AuthError::Missing);
    }
    let token = token.trim();
    match token.len() {
        len if len > MAX_TOKEN => Err(AuthError::TooLong { len }),
        _ => Ok(token),
    }
}

#[derive(Deserialize)]
struct Claims {
    aud: OneOrMany,
    exp: u64,
    nbf: Option<u64>,
    sub: String,
    #[serde(rename = "kubernetes.io")]
    kubernetes: Option<Bound>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Deserialize)]
struct Bound {
    namespace: String,
    serviceaccount: Named,
    pod: Option<Named>,
    node: Option<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    #[serde(default)]
    uid: String,
}

fn check_time(claims: &Claims, now: SystemTime) -> Result<(), AuthError> {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    if now >= claims.exp {
        return Err(AuthError::Expired {
            seconds: now - claims.exp,
        });
    }
    let earliest = claims.nbf.unwrap_or(0).saturating_sub(SKEW.as_secs());
    if now < earliest {
        return Err(AuthError::NotYetValid {
            seconds: earliest - now,
        });
    }
    Ok(())
}

impl Claims {
    fn into_caller(self) -> Result<Caller, AuthError> {
        let audience = match self.aud {
            OneOrMany::One(one) => vec![one],
            OneOrMany::Many(many) => many,
        };
        if !audience.iter().any(|a| a == AUDIENCE) {
            return Err(AuthError::Audience { audience });
        }
        let service_account = subject(&self.sub).ok_or(AuthError::Subject { subject: self.sub })?;
        let Some(bound) = self.kubernetes else {
            return Ok(Caller {
                service_account,
                pod: None,
                node: None,
            });
        };
        let named = ServiceAccount::new(bound.namespace, bound.serviceaccount.name);
        if named != service_account {
            return Err(AuthError::Disagreement {
                subject: service_account,
                bound: named,
            });
        }
        Ok(Caller {
            service_account,
            pod: bound.pod.map(|p| BoundPod {
                name: p.name,
                uid: p.uid,
            }),
            node: bound.node.map(|n| n.name).filter(|n| !n.is_empty()),
        })
    }
}

/// The service account that a user name means.
pub(crate) fn subject(sub: &str) -> Option<ServiceAccount> {
    let (namespace, name) = sub.strip_prefix(SUBJECT_PREFIX)?.split_once(':')?;
    let plain = |s: &str| !s.is_empty() && !s.contains([':', '/']);
    (plain(namespace) && plain(name)).then(|| ServiceAccount::new(namespace, name))
}
