//! Names of things: identities, resources, generations.
//! Parsed at the door, compared by value afterwards. No IO.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use thiserror::Error;

/// Trust domain assumed when a workload names none.
pub const DEFAULT_TRUST_DOMAIN: &str = "cluster.local";

/// A workload identity, `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.
///
/// Source: SPIFFE-ID section 2; Istio's fixed path layout.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct SpiffeId {
    trust_domain: Arc<str>,
    namespace: Arc<str>,
    service_account: Arc<str>,
}

/// Why a string is not a [`SpiffeId`].
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{value}` is not of the form spiffe://<trust domain>/ns/<namespace>/sa/<service account>")]
pub struct InvalidSpiffeId {
    /// What was given.
    pub value: String,
}

impl SpiffeId {
    /// Identity of a service account. Empty parts are allowed here and refused by [`FromStr`]:
    /// objects from the API server never have them.
    pub fn new(trust_domain: &str, namespace: &str, service_account: &str) -> Self {
        Self {
            trust_domain: trust_domain.into(),
            namespace: namespace.into(),
            service_account: service_account.into(),
        }
    }

    /// `<trust domain>`.
    pub fn trust_domain(&self) -> &str {
        &self.trust_domain
    }

    /// Kubernetes namespace.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Kubernetes service account.
    pub fn service_account(&self) -> &str {
        &self.service_account
    }

    /// The id without `spiffe://`, as authorization policies write principals.
    pub fn principal(&self) -> String {
        format!(
            "{}/ns/{}/sa/{}",
            self.trust_domain, self.namespace, self.service_account
        )
    }
}

impl fmt::Display for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "spiffe://{}/ns/{}/sa/{}",
            self.trust_domain, self.namespace, self.service_account
        )
    }
}

impl fmt::Debug for SpiffeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for SpiffeId {
    type Err = InvalidSpiffeId;

    fn from_str(value: &str) -> Result<Self, Self::Err> {
        let invalid = || InvalidSpiffeId {
            value: value.chars().take(256).collect(),
        };
        let rest = value.strip_prefix("spiffe://").ok_or_else(invalid)?;
        let mut parts = rest.split('/');
        let mut next = || parts.next().filter(|p| !p.is_empty()).ok_or_else(invalid);
        let trust_domain = next()?;
        if next()? != "ns" {
            return Err(invalid());
        }
        let namespace = next()?;
        if next()? != "sa" {
            return Err(invalid());
        }
        let id = Self::new(trust_domain, namespace, next()?);
        if parts.next().is_some() {
            return Err(invalid());
        }
        Ok(id)
    }
}

impl From<SpiffeId> for String {
    fn from(id: SpiffeId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for SpiffeId {
    type Error = InvalidSpiffeId;

    fn try_from(value: String) -> Result<Self, Self::Error> {
        value.parse()
    }
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl From<&str> for $name {
            fn from(value: &str) -> Self {
                Self(value.into())
            }
        }
        impl From<String> for $name {
            fn from(value: String) -> Self {
                Self(value.into())
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

name_type! {
    /// Primary key of a workload, for example `Kubernetes//Pod/default/reviews-v1`
    /// (`istio.workload.Workload.uid`).
    WorkloadUid
}
name_type! {
    /// Name of an L7 cluster: `<namespace>/<hostname>/<port>[/<subset>]`
    /// (`ambit.route.v1.Cluster.name`).
    ClusterName
}
name_type! {
    /// A network id (`topology.istio.io/network`); empty for the only one.
    NetworkId
}

/// Key of a service: `<namespace>/<hostname>`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceKey {
    /// Kubernetes namespace.
    pub namespace: Arc<str>,
    /// Fully qualified hostname.
    pub hostname: Arc<str>,
}

/// Key of an authorization policy: `<namespace>/<name>`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyKey {
    /// Kubernetes namespace.
    pub namespace: Arc<str>,
    /// Object name, or a name with `_` for converted policies.
    pub name: Arc<str>,
}

/// Why a string is not a two-part key.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("`{value}` is not of the form <namespace>/<name>")]
pub struct InvalidKey {
    /// What was given.
    pub value: String,
}

fn split_key(value: &str) -> Result<(&str, &str), InvalidKey> {
    match value.split_once('/') {
        Some((a, b)) if !a.is_empty() && !b.is_empty() && !b.contains('/') => Ok((a, b)),
        _ => Err(InvalidKey {
            value: value.chars().take(256).collect(),
        }),
    }
}

macro_rules! key_type {
    ($name:ident, $second:ident) => {
        impl Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, out: S) -> Result<S::Ok, S::Error> {
                out.collect_str(self)
            }
        }
        impl $name {
            /// A key from its parts.
            pub fn new(namespace: &str, $second: &str) -> Self {
                Self {
                    namespace: namespace.into(),
                    $second: $second.into(),
                }
            }
        }
        impl FromStr for $name {
            type Err = InvalidKey;
            fn from_str(value: &str) -> Result<Self, InvalidKey> {
                split_key(value).map(|(a, b)| Self::new(a, b))
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}/{}", self.namespace, self.$second)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}
key_type!(ServiceKey, hostname);
key_type!(PolicyKey, name);

/// Counts snapshots; a later one has a larger number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Generation(pub u64);

impl Generation {
    /// The generation after this one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spiffe_ids_parse_only_in_the_fixed_layout() {
        let id: SpiffeId = "spiffe://td/ns/default/sa/web".parse().unwrap();
        assert_eq!(id.principal(), "td/ns/default/sa/web");
        assert_eq!(id.to_string(), "spiffe://td/ns/default/sa/web");
        for bad in [
            "",
            "spiffe://",
            "spiffe://td",
            "spiffe://td/ns/a/sa",
            "spiffe://td/ns/a/sa/",
            "spiffe://td/ns//sa/b",
            "spiffe://td/ns/a/sa/b/c",
            "spiffe://td/sa/a/ns/b",
            "http://td/ns/a/sa/b",
        ] {
            assert!(bad.parse::<SpiffeId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_have_exactly_two_parts() {
        assert_eq!(
            "default/web".parse::<PolicyKey>().unwrap(),
            PolicyKey::new("default", "web")
        );
        for bad in ["", "a", "/a", "a/", "a/b/c"] {
            assert!(bad.parse::<ServiceKey>().is_err(), "{bad}");
        }
    }
}
