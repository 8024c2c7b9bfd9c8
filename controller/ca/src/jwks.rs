//! Public keys of the token issuer, from a JWKS file.
//! The file is read again when it changes on disk, and at most once a second when a token names a
//! key that is not in it.
//! Spec: RFC 7517.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, JwkSet, KeyAlgorithm};
use jsonwebtoken::{Algorithm, DecodingKey};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use thiserror::Error;

/// Longest file that is read, in bytes.
const MAX_LEN: u64 = 1 << 20;
/// Least time between two readings caused by an unknown key id.
const RETRY: Duration = Duration::from_secs(1);

/// Why the keys cannot be had.
#[derive(Debug, Error)]
pub enum JwksError {
    /// The file cannot be read.
    #[error("cannot read the token keys at {path}")]
    Read {
        /// Where.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// It is longer than a key set can be.
    #[error("the token keys at {path} are longer than {MAX_LEN} bytes")]
    TooLong {
        /// Where.
        path: PathBuf,
    },
    /// It is not a key set.
    #[error("{path} is not a JSON Web Key Set")]
    Parse {
        /// Where.
        path: PathBuf,
        /// Cause.
        #[source]
        source: serde_json::Error,
    },
    /// It holds no key that we can use.
    #[error("{path} holds no ES256 or RS256 key")]
    Empty {
        /// Where.
        path: PathBuf,
    },
}

/// One usable key.
pub(crate) struct Key {
    kid: Option<String>,
    pub(crate) algorithm: Algorithm,
    pub(crate) decoding: DecodingKey,
}

/// The usable keys of one reading.
pub(crate) struct Keys(Vec<Key>);

impl Keys {
    /// Keys that may have signed a token with this header; a token without key id may be signed by
    /// any key of the algorithm.
    pub(crate) fn candidates<'a>(
        &'a self,
        kid: Option<&'a str>,
        algorithm: Algorithm,
    ) -> impl Iterator<Item = &'a Key> {
        self.0.iter().filter(move |key| {
            key.algorithm == algorithm && kid.is_none_or(|kid| key.kid.as_deref() == Some(kid))
        })
    }

    fn knows(&self, kid: Option<&str>) -> bool {
        kid.is_none_or(|kid| self.0.iter().any(|key| key.kid.as_deref() == Some(kid)))
    }
}

struct Reading {
    keys: Arc<Keys>,
    stamp: Stamp,
    read_at: SystemTime,
}

/// What tells that a file was replaced or written.
#[derive(PartialEq)]
struct Stamp(Option<SystemTime>, u64);

/// A JWKS file and its last good reading.
pub struct JwksFile {
    path: PathBuf,
    last: Mutex<Reading>,
}

impl JwksFile {
    /// Reads the file.
    ///
    /// # Errors
    /// When it cannot be read or holds no usable key.
    pub fn open(path: &Path, now: SystemTime) -> Result<Self, JwksError> {
        let reading = read(path, now)?;
        Ok(Self {
            path: path.to_owned(),
            last: Mutex::new(reading),
        })
    }

    /// The keys to check a token with that names `kid`. A reading that fails keeps the last good
    /// one and is logged.
    pub(crate) fn keys(&self, kid: Option<&str>, now: SystemTime) -> Arc<Keys> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = fs::metadata(&self.path).is_ok_and(|m| stamp(&m) != last.stamp);
        let waited = now
            .duration_since(last.read_at)
            .is_ok_and(|elapsed| elapsed >= RETRY);
        if changed || (!last.keys.knows(kid) && waited) {
            match read(&self.path, now) {
                Ok(reading) => *last = reading,
                Err(error) => {
                    last.read_at = now;
                    tracing::warn!(error = %error, "token keys not reloaded, keeping the last ones");
                }
            }
        }
        last.keys.clone()
    }
}

fn stamp(meta: &fs::Metadata) -> Stamp {
    Stamp(meta.modified().ok(), meta.len())
}

fn read(path: &Path, now: SystemTime) -> Result<Reading, JwksError> {
    let failed = |source| JwksError::Read {
        path: path.to_owned(),
        source,
    };
    let meta = fs::metadata(path).map_err(failed)?;
    if meta.len() > MAX_LEN {
        return Err(JwksError::TooLong {
            path: path.to_owned(),
        });
    }
    let text = fs::read(path).map_err(failed)?;
    let set: JwkSet = serde_json::from_slice(&text).map_err(|source| JwksError::Parse {
        path: path.to_owned(),
        source,
    })?;
    let keys: Vec<Key> = set.keys.iter().filter_map(usable).collect();
    if keys.is_empty() {
        return Err(JwksError::Empty {
            path: path.to_owned(),
        });
    }
    Ok(Reading {
        keys: Arc::new(Keys(keys)),
        stamp: stamp(&meta),
        read_at: now,
    })
}

/// The key, if it is of an algorithm on the allow-list. Symmetric keys never are: whoever can read
/// the file could sign with them.
fn usable(jwk: &jsonwebtoken::jwk::Jwk) -> Option<Key> {
    let (algorithm, named) = match &jwk.algorithm {
        AlgorithmParameters::EllipticCurve(p) if p.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        _ => return None,
    };
    if jwk
        .common
        .key_algorithm
        .as_ref()
        .is_some_and(|a| *a != named)
    {
        return None;
    }
    Some(Key {
        kid: jwk.common.key_id.clone(),
        algorithm,
        decoding: DecodingKey::from_jwk(jwk).ok()?,
    })
}
