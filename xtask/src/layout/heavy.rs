//! Heavy dependencies stay with their owners.
//! In: direct dependencies. Out: packages that have one they do not own. Tests may have any.

use super::layers;
use crate::workspace::Package;

/// Dependency and the directories that may have it.
const OWNERS: [(&str, &[&str]); 11] = [
    ("rustls", &["common/identity"]),
    ("tokio-rustls", &["common/identity"]),
    ("rustls-webpki", &["common/identity"]),
    ("h2", &["common/hbone", "waypoint"]),
    ("tonic", &["common/xds", "common/identity", "controller"]),
    (
        "tonic-prost",
        &["common/xds", "common/identity", "controller"],
    ),
    ("aya", &["ebpf/loader"]),
    ("aya-obj", &["ebpf/loader"]),
    (
        "kube",
        &["controller/crds", "common/source", "controller", "cli"],
    ),
    (
        "k8s-openapi",
        &[
            "controller/crds",
            "controller/index",
            "controller",
            "common/source",
            "ebpf/agent",
            "cli",
        ],
    ),
    ("hickory-proto", &["waypoint", "ztunnel"]),
];

/// The layer of tests and tools.
const TESTS: u8 = 5;

/// Every breach.
pub(super) fn check(packages: &[Package]) -> Vec<String> {
    let mut breaches = Vec::new();
    for package in packages {
        let place = package.place();
        if layers::of(&place) == Some(TESTS) {
            continue;
        }
        for dependency in package
            .dependencies
            .iter()
            .filter(|d| d.kind.as_deref() != Some("dev"))
        {
            let owners = OWNERS.iter().find(|(name, _)| *name == dependency.name);
            if let Some((name, owners)) = owners
                && !owners.contains(&place.as_str())
            {
                breaches.push(format!(
                    "{place} depends on {name}, which belongs to {}",
                    owners.join(", ")
                ));
            }
        }
    }
    breaches
}
