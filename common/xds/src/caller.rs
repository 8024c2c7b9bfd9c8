//! Who is served, as the server sees it.

use std::fmt;

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
