//! Who is calling. The server asks; the controller's CA module answers.

use crate::caller::Caller;
use thiserror::Error;
use tonic::metadata::MetadataMap;

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
