//! What is installed: the manifests this command carries, and the settings put into them. Pure.
//! In: `deploy/manifests/bundle.json` and `deploy/crds`, made from the charts; `--set` and `-f`.
//! Out: objects in the order they are applied in. Must not happen here: a look at a cluster.

mod bundle;
mod crds;
mod difference;
mod render;
mod settings;

pub(crate) use bundle::Bundle;
pub(crate) use crds::definitions;
pub(crate) use difference::{Difference, differences};
pub(crate) use render::{Component, render};
pub(crate) use settings::{DEFAULT_REVISION, NAMESPACE, Settings};

/// Who applies what this command applies.
pub(crate) const MANAGER: &str = "ambit-cli";
/// Label on everything that belongs to the mesh.
pub(crate) const PART_OF: &str = "app.kubernetes.io/part-of";
/// Its value.
pub(crate) const AMBIT: &str = "ambit";
