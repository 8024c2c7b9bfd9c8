//! The bill of materials of an image: every crate in its programs.
//! In: `cargo metadata` with the lock file. Out: CycloneDX 1.5 JSON, the same for the same lock file.
//! Crates of tests and builds are not in a program and not listed.
//! Spec: CycloneDX 1.5 (ECMA-424), package URL `pkg:cargo`.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, ensure};
use serde::Deserialize;
use serde_json::{Value, json};

use super::catalogue::{Recipe, Source};
use crate::workspace::cargo;

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    resolve: Resolve,
}

#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
}

#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Edge>,
}

#[derive(Deserialize)]
struct Edge {
    pkg: String,
    dep_kinds: Vec<Kind>,
}

#[derive(Deserialize)]
struct Kind {
    /// `null` for a normal dependency
    kind: Option<String>,
}

/// Writes the bill of an image.
///
/// # Errors
/// If cargo cannot tell.
pub(super) fn of(recipe: &Recipe) -> Result<Vec<u8>> {
    let metadata = read()?;
    let programs = recipe.programs.iter();
    let wanted: Vec<&str> = programs
        .filter_map(|program| program.source.package())
        .collect();
    let mut components: Vec<Value> = reached(&metadata, &wanted)
        .into_iter()
        .map(component)
        .collect();
    let machine = recipe
        .programs
        .iter()
        .filter(|program| matches!(program.source, Source::Machine));
    components.extend(machine.map(|program| json!({"type": "application", "name": program.file})));
    let (name, version) = recipe.references[0]
        .rsplit_once(':')
        .with_context(|| format!("{} has no tag", recipe.references[0]))?;
    let bill = json!({
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "version": 1,
        "metadata": {"component": {
            "type": "container", "name": name, "version": version, "description": recipe.description,
        }},
        "components": components,
    });
    serde_json::to_vec_pretty(&bill).context("write it")
}

fn read() -> Result<Metadata> {
    let platform = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let output = cargo()
        .args([
            "metadata",
            "--format-version",
            "1",
            "--locked",
            "--filter-platform",
            &platform,
        ])
        .output()
        .context("cargo metadata")?;
    ensure!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).context("cargo metadata")
}

/// Packages that end up in programs of these, by name and version.
fn reached<'a>(metadata: &'a Metadata, wanted: &[&str]) -> Vec<&'a Package> {
    let edges: BTreeMap<&str, &Node> = metadata
        .resolve
        .nodes
        .iter()
        .map(|n| (n.id.as_str(), n))
        .collect();
    let start = metadata
        .packages
        .iter()
        .filter(|p| wanted.contains(&p.name.as_str()) && p.source.is_none());
    let mut waiting: Vec<&str> = start.map(|package| package.id.as_str()).collect();
    let mut seen: BTreeSet<&str> = BTreeSet::new();
    while let Some(id) = waiting.pop() {
        if !seen.insert(id) {
            continue;
        }
        let normal = |edge: &&Edge| edge.dep_kinds.iter().any(|kind| kind.kind.is_none());
        let next = edges
            .get(id)
            .into_iter()
            .flat_map(|node| &node.deps)
            .filter(normal);
        waiting.extend(next.map(|edge| edge.pkg.as_str()));
    }
    let mut packages: Vec<&Package> = metadata
        .packages
        .iter()
        .filter(|p| seen.contains(p.id.as_str()))
        .collect();
    packages.sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
    packages
}

fn component(package: &Package) -> Value {
    let mut component = json!({
        "type": "library",
        "name": package.name,
        "version": package.version,
    });
    if package.source.is_some() {
        component["purl"] = json!(format!("pkg:cargo/{}@{}", package.name, package.version));
    }
    if let Some(license) = &package.license {
        // The old way to write a choice is no expression of SPDX.
        component["licenses"] = json!([{"expression": license.replace('/', " OR ")}]);
    }
    component
}

#[cfg(test)]
mod tests {
    use super::{Metadata, component, reached};

    #[test]
    fn crates_of_tests_and_builds_are_not_in_a_program() {
        let metadata = r#"{
            "packages": [
                {"id": "a", "name": "program", "version": "1.0.0", "license": null, "source": null},
                {"id": "b", "name": "used", "version": "2.0.0", "license": "MIT/Apache-2.0", "source": "registry"},
                {"id": "c", "name": "tested", "version": "3.0.0", "license": "MIT", "source": "registry"},
                {"id": "d", "name": "program", "version": "9.0.0", "license": "MIT", "source": "registry"}
            ],
            "resolve": {"nodes": [
                {"id": "a", "deps": [
                    {"pkg": "b", "dep_kinds": [{"kind": null}, {"kind": "build"}]},
                    {"pkg": "c", "dep_kinds": [{"kind": "dev"}]}
                ]},
                {"id": "b", "deps": []}, {"id": "c", "deps": []}, {"id": "d", "deps": []}
            ]}
        }"#;
        let metadata: Metadata = serde_json::from_str(metadata).unwrap();
        let found = reached(&metadata, &["program"]);
        let names: Vec<&str> = found.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names, ["program", "used"]);
        let used = component(found[1]);
        assert_eq!(used["purl"], "pkg:cargo/used@2.0.0");
        assert_eq!(used["licenses"][0]["expression"], "MIT OR Apache-2.0");
        assert_eq!(component(found[0]).get("purl"), None);
    }
}
