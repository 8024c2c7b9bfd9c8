//! Who is calling. The server asks; the controller's CA module answers.

use std::fmt;
use thiserror::Error;
use tonic::metadata::MetadataMap;

/// What a caller may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A node proxy: workloads, services and L4 policies.
    Node,
    /// A gateway: workloads, services and the routes of gateways with its service account.
    Gateway,
}

/// An authenticated caller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// `<namespace>/<name>` of its service account.
    pub service_account: String,
    /// Kubernetes node it runs on, when its token says so.
    pub node: Option<String>,
    /// What it may see.
    pub role: Role,
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

/// Why a caller gets nothing. The reason is logged; the caller sees only the status code.
#[derive(Debug, Error)]
pub enum Denied {
    /// No token, or one that does not verify: `UNAUTHENTICATED`.
    #[error("not authenticated: {reason}")]
    Unauthenticated {
        /// For the log.
        reason: String,
    },
    /// A known caller that may see nothing: `PERMISSION_DENIED`.
    #[error("not permitted: {reason}")]
    NotPermitted {
        /// For the log.
        reason: String,
    },
}

/// Names the caller of a stream from its request metadata.
#[tonic::async_trait]
pub trait Authorizer: Send + Sync + 'static {
    /// The caller, or why not.
    async fn authorize(&self, metadata: &MetadataMap) -> Result<Caller, Denied>;
}
