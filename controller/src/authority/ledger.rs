//! The record of what is published and since when: a file beside the authority, or a Secret that all
//! replicas read.
//! In: the record. Out: the record, changed only by who saw it last.

use ambit_ca::authority::{OpenError, publish, read_published};
use ambit_ca::roots::{Roots, RootsError};
use ambit_ca::rotation::Published;
use ambit_source::kubernetes::{Address, Client, RequestError, create, read, replace};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};
use thiserror::Error;

/// The Secret. It holds nothing secret; who may write it could as well replace the authority.
const SECRET: &str = "ambit-ca-roots";
const ROOTS: &str = "root-cert.pem";
const SINCE: &str = "since";

/// Where the record is.
pub(crate) enum Ledger {
    /// `DIR/published/root-cert.pem`, its time of change.
    Directory(PathBuf),
    /// A Secret.
    Cluster {
        /// The API server.
        client: Client,
        /// Of the controller.
        namespace: String,
    },
}

/// Why the record is not known, or not written.
#[derive(Debug, Error)]
pub(crate) enum LedgerError {
    /// The file.
    #[error("the published roots cannot be read or written")]
    File(#[from] OpenError),
    /// The Secret.
    #[error("the record of the published roots is out of reach")]
    Secret(#[from] RequestError),
    /// The Secret lacks a part.
    #[error("Secret {SECRET} has no usable `{key}`")]
    Part {
        /// Key in `data`.
        key: &'static str,
    },
    /// What it holds are no roots.
    #[error("Secret {SECRET} holds no roots")]
    Roots(#[from] RootsError),
}

impl LedgerError {
    /// Whether the record is there and makes no sense.
    pub(super) fn is_nonsense(&self) -> bool {
        match self {
            Self::File(error) => matches!(error, OpenError::Content { .. }),
            Self::Part { .. } | Self::Roots(_) => true,
            Self::Secret(_) => false,
        }
    }
}

/// What tells one version of the record from the next.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Version {
    /// It was not there.
    #[default]
    Absent,
    /// It was, as the server's `resourceVersion` says, or in a form that cannot be read.
    Seen(Value),
}

impl Ledger {
    /// The record now.
    pub(super) async fn read(&self) -> Result<(Version, Option<Published>), LedgerError> {
        match self {
            Self::Directory(dir) => Ok((Version::Absent, read_published(dir)?)),
            Self::Cluster { client, namespace } => {
                let Some(secret) = read(client, &address(namespace)).await? else {
                    return Ok((Version::Absent, None));
                };
                let version = Version::Seen(secret["metadata"]["resourceVersion"].clone());
                Ok((version, Some(parse(&secret)?)))
            }
        }
    }

    /// Writes it; `false` when somebody else has meanwhile.
    pub(super) async fn write(
        &self,
        published: &Published,
        over: &Version,
    ) -> Result<bool, LedgerError> {
        let (client, namespace) = match self {
            Self::Directory(dir) => {
                publish(dir, &published.roots)?;
                return Ok(true);
            }
            Self::Cluster { client, namespace } => (client, namespace),
        };
        let mut secret = document(namespace, published);
        let done = match over {
            Version::Absent => create(client, &secret).await,
            Version::Seen(version) => {
                secret["metadata"]["resourceVersion"] = version.clone();
                replace(client, &secret).await
            }
        };
        match done {
            Ok(_) => Ok(true),
            Err(error) if error.is_conflict() => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The version of a record that cannot be read.
    pub(super) async fn version(&self) -> Result<Version, LedgerError> {
        match self {
            Self::Directory(_) => Ok(Version::Absent),
            Self::Cluster { client, namespace } => {
                let secret = read(client, &address(namespace)).await?;
                Ok(secret.map_or(Version::Absent, |s| {
                    Version::Seen(s["metadata"]["resourceVersion"].clone())
                }))
            }
        }
    }
}

fn address(namespace: &str) -> Address {
    Address::new("v1", "Secret", "secrets")
        .within(namespace)
        .named(SECRET)
}

fn parse(secret: &Value) -> Result<Published, LedgerError> {
    let part = |key: &'static str| {
        let text = secret["data"][key].as_str();
        text.and_then(|text| STANDARD.decode(text).ok())
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .ok_or(LedgerError::Part { key })
    };
    let since: Timestamp = part(SINCE)?
        .parse()
        .map_err(|_| LedgerError::Part { key: SINCE })?;
    Ok(Published {
        roots: Roots::from_pem(&part(ROOTS)?)?,
        since: since.into(),
    })
}

fn document(namespace: &str, published: &Published) -> Value {
    let since = Timestamp::try_from(published.since).unwrap_or(Timestamp::UNIX_EPOCH);
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": SECRET, "namespace": namespace},
        "type": "ambit.io/ca-roots",
        "data": {
            ROOTS: STANDARD.encode(published.roots.pem()),
            SINCE: STANDARD.encode(since.to_string()),
        },
    })
}

/// A moment without what the record cannot keep.
pub(super) fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + std::time::Duration::from_secs(since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use ambit_ca::authority::{Pem, SelfSigned};

    #[test]
    fn what_is_recorded_is_what_was_published() {
        let now = whole_seconds(SystemTime::now());
        let pem = Pem::self_signed(&SelfSigned::of("cluster.local"), now).unwrap();
        let published = Published {
            roots: Roots::from_pem(&pem.ca_cert).unwrap(),
            since: now,
        };
        let mut secret = document("istio-system", &published);
        assert_eq!(parse(&secret).unwrap(), published);
        secret["data"]["since"] = STANDARD.encode("soon").into();
        let error = parse(&secret).unwrap_err();
        assert!(error.is_nonsense(), "{error}");
        assert!(parse(&json!({})).unwrap_err().is_nonsense());
    }
}
