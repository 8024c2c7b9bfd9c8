//! What a caller may be: its own identity, or, for the proxy of a node, that of a pod there.
//! Pure. Every denial has a name for the log and the metrics; the caller sees none of it.

use crate::caller::{Caller, ServiceAccount};
use crate::pods::PodDirectory;
use ambit_model::SpiffeId;
use thiserror::Error;

/// Settings of authorization.
#[derive(Clone, Debug)]
pub struct Rules {
    /// Trust domain of every identity we sign.
    pub trust_domain: String,
    /// Accounts of node proxies, which may impersonate the pods of their node.
    pub trusted_node_accounts: Vec<ServiceAccount>,
}

/// Why an identity is refused.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum Denial {
    /// Only trusted node accounts impersonate.
    #[error("{caller} is not a trusted node account and may not impersonate {asked}")]
    NotTrusted {
        /// Who asked.
        caller: ServiceAccount,
        /// For what.
        asked: SpiffeId,
    },
    /// The caller is bound to no node.
    #[error("{caller} is bound to no node, by its token or its pod")]
    NoNode {
        /// Who asked.
        caller: ServiceAccount,
    },
    /// Token and pod name different nodes, pods or accounts.
    #[error("the token of {caller} does not agree with pod {pod}: {what}")]
    PodMismatch {
        /// Who asked.
        caller: ServiceAccount,
        /// Name of the pod.
        pod: String,
        /// Which fact differs.
        what: &'static str,
    },
    /// Not ours to sign.
    #[error("{asked} is not of the trust domain {trust_domain}")]
    TrustDomain {
        /// For what.
        asked: SpiffeId,
        /// Ours.
        trust_domain: String,
    },
    /// No living pod there uses the account.
    #[error("no running pod on node {node} uses the service account of {asked}")]
    NotOnNode {
        /// For what.
        asked: SpiffeId,
        /// Node of the caller.
        node: String,
    },
}

impl Denial {
    /// Name of the reason, for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotTrusted { .. } => "not_trusted",
            Self::NoNode { .. } => "no_node",
            Self::PodMismatch { .. } => "pod_mismatch",
            Self::TrustDomain { .. } => "trust_domain",
            Self::NotOnNode { .. } => "not_on_node",
        }
    }
}

impl Rules {
    /// Whether the account is one of the node proxies'.
    pub fn is_node_account(&self, account: &ServiceAccount) -> bool {
        self.trusted_node_accounts.contains(account)
    }

    /// The identity to sign for `caller`, who asked for `asked` or, with `None`, for its own.
    ///
    /// # Errors
    /// A named reason, for the log.
    pub fn identity(
        &self,
        caller: &Caller,
        asked: Option<&SpiffeId>,
        pods: &PodDirectory,
    ) -> Result<SpiffeId, Denial> {
        let account = &caller.service_account;
        let own = SpiffeId::new(&self.trust_domain, &account.namespace, &account.name);
        let Some(asked) = asked.filter(|id| **id != own) else {
            return Ok(own);
        };
        if !self.is_node_account(account) {
            return Err(Denial::NotTrusted {
                caller: account.clone(),
                asked: asked.clone(),
            });
        }
        if asked.trust_domain() != self.trust_domain {
            return Err(Denial::TrustDomain {
                asked: asked.clone(),
                trust_domain: self.trust_domain.clone(),
            });
        }
        let node = node_of(caller, pods)?;
        let wanted = ServiceAccount::new(asked.namespace(), asked.service_account());
        let runs_there = pods
            .by_account(&wanted)
            .any(|pod| !pod.terminated && pod.node == node);
        if runs_there {
            Ok(asked.clone())
        } else {
            Err(Denial::NotOnNode {
                asked: asked.clone(),
                node,
            })
        }
    }
}

/// The caller's node: from the token, else from its pod. Where both are known they must agree, so
/// that a token of a deleted pod does not speak for its successor on another node.
fn node_of(caller: &Caller, pods: &PodDirectory) -> Result<String, Denial> {
    let account = &caller.service_account;
    let no_node = || Denial::NoNode {
        caller: account.clone(),
    };
    let Some(bound) = &caller.pod else {
        return caller.node.clone().ok_or_else(no_node);
    };
    let Some(pod) = pods.by_name(&account.namespace, &bound.name) else {
        return caller.node.clone().ok_or_else(no_node);
    };
    let mismatch = |what| {
        Err(Denial::PodMismatch {
            caller: account.clone(),
            pod: bound.name.clone(),
            what,
        })
    };
    if pod.service_account != account.name {
        return mismatch("service account");
    }
    if !bound.uid.is_empty() && !pod.uid.is_empty() && bound.uid != pod.uid {
        return mismatch("uid");
    }
    match &caller.node {
        Some(node) if !pod.node.is_empty() && *node != pod.node => mismatch("node"),
        Some(node) => Ok(node.clone()),
        None if pod.node.is_empty() => Err(no_node()),
        None => Ok(pod.node.clone()),
    }
}
