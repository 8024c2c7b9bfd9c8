//! Which objects a program watches. Pure.

use ambit_crds::Kind;
use kube::api::{ApiResource, GroupVersionKind};

/// What to watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kinds {
    /// Every kind Ambit reads but ConfigMaps, of all namespaces.
    Mesh,
    /// The same, and those ConfigMaps that Gateways name or that are class defaults in this namespace: what
    /// the controller needs.
    MeshAndOverlays(String),
    /// Pods bound to the node of this name, and all namespaces: what an agent needs.
    Node(String),
}

/// One kind to watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) kind: Kind,
    /// Field selector.
    pub(super) fields: Option<String>,
}

impl Kinds {
    pub(super) fn targets(&self) -> Vec<Target> {
        let all = |kind: &Kind| Target {
            kind: kind.clone(),
            fields: None,
        };
        match self {
            Self::Mesh | Self::MeshAndOverlays(_) => {
                let known = Kind::KNOWN.iter();
                known.filter(|k| **k != Kind::ConfigMap).map(all).collect()
            }
            Self::Node(name) => vec![
                all(&Kind::Namespace),
                Target {
                    kind: Kind::Pod,
                    fields: Some(format!("spec.nodeName={name}")),
                },
            ],
        }
    }
}

/// Whether a kind comes with a CustomResourceDefinition, and so may be missing.
pub(super) fn is_custom(kind: &Kind) -> bool {
    !matches!(kind.group(), "" | "discovery.k8s.io")
}

/// The kind at one of its versions.
pub(super) fn resource(kind: &Kind, version: &str) -> ApiResource {
    let gvk = GroupVersionKind::gvk(kind.group(), version, kind.as_str());
    ApiResource::from_gvk_with_plural(&gvk, &kind.plural())
}

/// Name of the definition of a custom kind.
pub(super) fn definition(kind: &Kind) -> String {
    format!("{}.{}", kind.plural(), kind.group())
}
