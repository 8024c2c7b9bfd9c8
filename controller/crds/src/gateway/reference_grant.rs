//! `ReferenceGrant` (gateway.networking.k8s.io): lets objects of other namespaces refer to objects of its own.

use serde::Deserialize;

/// `spec`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ReferenceGrantSpec {
    /// Who may refer; any of them.
    pub from: Vec<GrantFrom>,
    /// To what; any of them.
    pub to: Vec<GrantTo>,
}

/// `from[]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GrantFrom {
    /// Group of the referring object.
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
}

/// `to[]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GrantTo {
    /// Group of the object referred to; empty is the core group.
    pub group: String,
    /// Its kind.
    pub kind: String,
    /// Its name; unset means every one.
    pub name: Option<String>,
}
