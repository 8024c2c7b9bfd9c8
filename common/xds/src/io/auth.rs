//! Who is calling. The server asks; the controller's CA module answers.

use crate::caller::Caller;
use ambit_api::discovery::Node;
use prost_types::value::Kind;
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

/// What a client says of itself in its first request; nothing depends on it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Introduction {
    /// `node.id`, at most 256 characters.
    pub id: String,
    /// `NETWORK` of the node's metadata, at most 256 characters; `None`: it says none.
    pub network: Option<String>,
}

impl Introduction {
    pub(crate) fn of(node: &Node) -> Self {
        let short = |text: &str| text.chars().take(256).collect();
        let network = node.metadata.as_ref().and_then(|m| m.fields.get("NETWORK"));
        Self {
            id: short(&node.id),
            network: match network.and_then(|value| value.kind.as_ref()) {
                Some(Kind::StringValue(network)) => Some(short(network)),
                _ => None,
            },
        }
    }
}

/// Names the caller of a stream from its request metadata.
#[tonic::async_trait]
pub trait Authorizer: Send + Sync + 'static {
    /// The caller, or why not.
    async fn authorize(&self, metadata: &MetadataMap) -> Result<Caller, Denied>;

    /// Hears what a caller says of itself, once a stream.
    fn introduced(&self, _caller: &Caller, _node: &Introduction) {}
}
