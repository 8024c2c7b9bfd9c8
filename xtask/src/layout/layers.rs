//! Layers: an edge may only point down, or sideways; the pure layer has no IO.
//! In: packages and their direct dependencies. Out: edges that point up, packages without a layer.
//! Cargo itself refuses cycles of a layer.

use crate::workspace::{self, Package};

/// Directory to layer. A trailing `*` is any one directory.
const LAYERS: [(&str, u8); 26] = [
    ("common/api", 0),
    ("ebpf/common", 0),
    ("common/model", 1),
    ("controller/crds", 1),
    ("common/policy", 2),
    ("common/routing", 2),
    ("controller/index", 2),
    ("common/net", 3),
    ("common/identity", 3),
    ("common/hbone", 3),
    ("common/xds", 3),
    ("common/source", 3),
    ("common/telemetry", 3),
    ("common/runtime", 3),
    ("ebpf/loader", 3),
    ("controller/ca", 3),
    ("ztunnel", 4),
    ("waypoint", 4),
    ("controller", 4),
    ("cli", 4),
    ("ebpf/agent", 4),
    ("ebpf/cni", 4),
    ("deploy/samples/*", 4),
    ("tests/*", 5),
    ("xtask", 5),
    ("ebpf/programs", 0),
];

/// The layer of pure decisions.
const PURE: u8 = 2;

/// What a pure crate cannot need.
const IO: [&str; 10] = [
    "tokio",
    "tokio-util",
    "hyper",
    "hyper-util",
    "h2",
    "tonic",
    "socket2",
    "nix",
    "rustix",
    "libc",
];

/// The layer of a directory below the root.
pub(super) fn of(place: &str) -> Option<u8> {
    let matches = |pattern: &str| match pattern.strip_suffix('*') {
        Some(parent) => place
            .strip_prefix(parent)
            .is_some_and(|rest| !rest.contains('/')),
        None => place == pattern,
    };
    LAYERS
        .iter()
        .find(|(pattern, _)| matches(pattern))
        .map(|(_, layer)| *layer)
}

/// Every breach.
pub(super) fn check(packages: &[Package]) -> Vec<String> {
    packages.iter().flat_map(check_one).collect()
}

fn check_one(package: &Package) -> Vec<String> {
    let place = package.place();
    let Some(own) = of(&place) else {
        return vec![format!("{place} has no layer")];
    };
    let mut breaches = Vec::new();
    for dependency in &package.dependencies {
        if let Some(path) = &dependency.path {
            let to = workspace::place(path);
            match of(&to) {
                Some(layer) if layer <= own => {}
                Some(layer) => breaches.push(format!(
                    "{place} (layer {own}) depends on {to} (layer {layer})"
                )),
                None => breaches.push(format!("{place} depends on {to}, which has no layer")),
            }
        }
        let pure = own == PURE && dependency.kind.is_none();
        if pure && IO.contains(&dependency.name.as_str()) {
            breaches.push(format!(
                "{place} is pure and depends on {}",
                dependency.name
            ));
        }
    }
    breaches
}

#[cfg(test)]
mod tests {
    use super::of;

    #[test]
    fn every_directory_has_the_layer_of_its_line() {
        assert_eq!(of("common/api"), Some(0));
        assert_eq!(of("controller"), Some(4));
        assert_eq!(of("controller/ca"), Some(3));
        assert_eq!(of("tests/harness"), Some(5));
        assert_eq!(of("deploy/samples/bookinfo"), Some(4));
        assert_eq!(of("tests/harness/more"), None);
        assert_eq!(of("common/new"), None);
    }
}
