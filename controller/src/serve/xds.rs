//! Who may open an xDS stream: node proxies, and gateways that exist.

use super::Authority;
use crate::facts::{Facts, SharedFacts};
use ambit_runtime::causes::causes;
use ambit_xds::{Authorizer, Caller, Denied, Introduction, Role};
use std::sync::Arc;
use std::time::SystemTime;
use tonic::metadata::MetadataMap;

/// Decides by token, then by the objects.
pub(crate) struct XdsAuthorizer {
    pub(crate) authority: Arc<Authority>,
    pub(crate) facts: SharedFacts,
}

#[tonic::async_trait]
impl Authorizer for XdsAuthorizer {
    async fn authorize(&self, metadata: &MetadataMap) -> Result<Caller, Denied> {
        let header = bearer(metadata);
        let caller = self
            .authority
            .tokens
            .caller(header, SystemTime::now())
            .await;
        let caller = caller.map_err(|error| Denied::Unauthenticated {
            reason: causes(&error),
        })?;
        let account = caller.service_account.to_string();
        let role = if self
            .authority
            .rules
            .is_node_account(&caller.service_account)
        {
            Role::Node
        } else if self.facts.load().gateway_accounts.contains(&account) {
            Role::Gateway
        } else {
            return Err(Denied::NotPermitted {
                reason: format!("{account} is neither a node proxy's account nor a gateway's"),
            });
        };
        Ok(Caller {
            service_account: account,
            node: caller.node,
            role,
        })
    }

    fn introduced(&self, caller: &Caller, node: &Introduction) {
        let facts = self.facts.load();
        if let Some(network) = differs(node.network.as_deref(), &facts) {
            tracing::warn!(
                %caller,
                node_id = node.id,
                network,
                of_the_cluster = &*facts.network,
                "a proxy says another network than the cluster's"
            );
        }
    }
}

/// The network that a proxy says, if it is another one.
pub(crate) fn differs<'a>(says: Option<&'a str>, facts: &Facts) -> Option<&'a str> {
    says.filter(|network| **network != *facts.network)
}

/// Value of the `authorization` header.
pub(crate) fn bearer(metadata: &MetadataMap) -> Option<&str> {
    metadata.get("authorization")?.to_str().ok()
}
