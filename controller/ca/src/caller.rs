//! Who is calling: what a verified token says, and nothing that the caller merely claims.

use std::fmt;

/// A Kubernetes service account.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceAccount {
    /// Namespace.
    pub namespace: String,
    /// Name.
    pub name: String,
}

impl ServiceAccount {
    /// From its parts.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// `<namespace>/<name>`, as settings write it; `None` if it is not of that form.
    pub fn parse(text: &str) -> Option<Self> {
        let (namespace, name) = text.split_once('/')?;
        let plain = |s: &str| !s.is_empty() && !s.contains('/');
        (plain(namespace) && plain(name)).then(|| Self::new(namespace, name))
    }
}

impl fmt::Display for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// The pod a token is bound to (`kubernetes.io.pod`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BoundPod {
    /// Name, in the namespace of the service account.
    pub name: String,
    /// Object uid; empty when the token carries none.
    pub uid: String,
}

/// An authenticated caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// `sub`.
    pub service_account: ServiceAccount,
    /// Pod the token is bound to, if any.
    pub pod: Option<BoundPod>,
    /// Node the token is bound to, if the token says so.
    pub node: Option<String>,
}

impl fmt::Display for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.service_account)?;
        match &self.node {
            Some(node) => write!(f, " on {node}"),
            None => Ok(()),
        }
    }
}
