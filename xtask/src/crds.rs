//! The CustomResourceDefinitions of Istio's kinds that Ambit acts on.
//! In: the table below and the schemas beside it. Out: one YAML document per kind, for `deploy/crds`.
//! A field that no schema types is kept, not pruned: the controller then names what it does not do,
//! which a field that silently vanished would hide.
//! Spec: istio/api's field names; `apiextensions.k8s.io/v1 CustomResourceDefinition`.

mod networking;
mod policy;
mod schema;
mod security;
mod virtual_service;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde_json::{Value, json};

/// Where the documents are.
pub(crate) const DIRECTORY: &str = "deploy/crds";

/// Says who made the objects; removal takes nothing without it.
const PART_OF: (&str, &str) = ("app.kubernetes.io/part-of", "ambit");

/// One kind.
struct Kind {
    /// API group
    group: &'static str,
    /// `kind`
    kind: &'static str,
    /// As in API paths
    plural: &'static str,
    /// For kubectl
    short: &'static [&'static str],
    /// Newest first; the first one is stored
    versions: &'static [&'static str],
    /// Columns of `kubectl get` before the age: title, path, type
    columns: &'static [(&'static str, &'static str)],
    /// What it is
    about: &'static str,
    /// Schema of `spec`
    spec: fn() -> Value,
}

const NETWORKING: &str = "networking.istio.io";
const SECURITY: &str = "security.istio.io";
const NETWORKING_VERSIONS: &[&str] = &["v1", "v1beta1", "v1alpha3"];
const SECURITY_VERSIONS: &[&str] = &["v1", "v1beta1"];

const KINDS: [Kind; 9] = [
    Kind {
        group: NETWORKING,
        kind: "DestinationRule",
        plural: "destinationrules",
        short: &["dr"],
        versions: NETWORKING_VERSIONS,
        columns: &[("Host", ".spec.host")],
        about: "How traffic to a service is spread and sent, and how its pods are grouped.",
        spec: networking::destination_rule,
    },
    Kind {
        group: NETWORKING,
        kind: "Gateway",
        plural: "gateways",
        short: &["gw"],
        versions: NETWORKING_VERSIONS,
        columns: &[],
        about: "Ports and hosts that gateway pods take traffic for.",
        spec: networking::gateway,
    },
    Kind {
        group: NETWORKING,
        kind: "ServiceEntry",
        plural: "serviceentries",
        short: &["se"],
        versions: NETWORKING_VERSIONS,
        columns: &[
            ("Hosts", ".spec.hosts"),
            ("Location", ".spec.location"),
            ("Resolution", ".spec.resolution"),
        ],
        about: "A service that Kubernetes does not know.",
        spec: networking::service_entry,
    },
    Kind {
        group: NETWORKING,
        kind: "VirtualService",
        plural: "virtualservices",
        short: &["vs"],
        versions: NETWORKING_VERSIONS,
        columns: &[("Gateways", ".spec.gateways"), ("Hosts", ".spec.hosts")],
        about: "Where requests to a host go.",
        spec: virtual_service::virtual_service,
    },
    Kind {
        group: NETWORKING,
        kind: "WorkloadEntry",
        plural: "workloadentries",
        short: &["we"],
        versions: NETWORKING_VERSIONS,
        columns: &[("Address", ".spec.address")],
        about: "A workload that is not a pod.",
        spec: networking::workload_entry,
    },
    Kind {
        group: SECURITY,
        kind: "AuthorizationPolicy",
        plural: "authorizationpolicies",
        short: &["ap"],
        versions: SECURITY_VERSIONS,
        columns: &[("Action", ".spec.action")],
        about: "Who may do what.",
        spec: policy::authorization_policy,
    },
    Kind {
        group: SECURITY,
        kind: "PeerAuthentication",
        plural: "peerauthentications",
        short: &["pa"],
        versions: SECURITY_VERSIONS,
        columns: &[("Mode", ".spec.mtls.mode")],
        about: "Whether plaintext is let in.",
        spec: security::peer_authentication,
    },
    Kind {
        group: SECURITY,
        kind: "RequestAuthentication",
        plural: "requestauthentications",
        short: &["ra"],
        versions: SECURITY_VERSIONS,
        columns: &[],
        about: "Whose JSON web tokens are believed.",
        spec: security::request_authentication,
    },
    Kind {
        group: "telemetry.istio.io",
        kind: "Telemetry",
        plural: "telemetries",
        short: &["telemetry"],
        versions: &["v1", "v1alpha1"],
        columns: &[],
        about: "What is measured, logged and traced.",
        spec: security::telemetry,
    },
];

/// Every document: path below the root → text.
///
/// # Errors
/// If one cannot be written as YAML.
pub(crate) fn generate() -> Result<BTreeMap<PathBuf, String>> {
    let mut out = BTreeMap::new();
    let mut names = Vec::new();
    for kind in &KINDS {
        let name = format!("{}_{}.yaml", kind.group, kind.plural);
        let text = serde_saphyr::to_string(&document(kind))?;
        let path = Path::new(DIRECTORY).join(&name);
        out.insert(path, format!("{HEADER}{text}"));
        names.push(name);
    }
    let kustomization = json!({
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": names,
    });
    out.insert(
        Path::new(DIRECTORY).join("kustomization.yaml"),
        format!("{HEADER}{}", serde_saphyr::to_string(&kustomization)?),
    );
    Ok(out)
}

const HEADER: &str = "# Generated by `cargo xtask codegen`.\n";

fn document(kind: &Kind) -> Value {
    let singular = kind.kind.to_lowercase();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": format!("{}.{}", kind.plural, kind.group),
            "labels": {PART_OF.0: PART_OF.1},
            "annotations": {"helm.sh/resource-policy": "keep"},
        },
        "spec": {
            "group": kind.group,
            "scope": "Namespaced",
            "names": {
                "categories": ["istio-io", kind.group.replace('.', "-").trim_end_matches("-istio-io").to_owned() + "-istio-io"],
                "kind": kind.kind,
                "listKind": format!("{}List", kind.kind),
                "plural": kind.plural,
                "shortNames": kind.short,
                "singular": singular,
            },
            "versions": kind.versions.iter().enumerate().map(|(i, v)| version(kind, v, i == 0)).collect::<Vec<_>>(),
        },
    })
}

fn version(kind: &Kind, name: &str, storage: bool) -> Value {
    let column =
        |(title, path): &(&str, &str)| json!({"name": title, "type": "string", "jsonPath": path});
    let mut columns: Vec<Value> = kind.columns.iter().map(column).collect();
    columns.push(json!({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}));
    json!({
        "name": name,
        "served": true,
        "storage": storage,
        "additionalPrinterColumns": columns,
        "subresources": {"status": {}},
        "schema": {
            "openAPIV3Schema": {
                "type": "object",
                "description": kind.about,
                "properties": {
                    "spec": (kind.spec)(),
                    "status": {
                        "type": "object",
                        "description": "Written by the controller.",
                        "x-kubernetes-preserve-unknown-fields": true,
                    },
                },
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rules of a structural schema that a wrong table would break first.
    fn structural(path: &str, schema: &Value) {
        let map = schema.as_object().expect("a schema is a map");
        let typed = map.contains_key("type") || map.contains_key("x-kubernetes-int-or-string");
        assert!(typed, "{path}: no type");
        for (name, inner) in map
            .get("properties")
            .and_then(Value::as_object)
            .into_iter()
            .flatten()
        {
            structural(&format!("{path}.{name}"), inner);
        }
        if map.contains_key("properties") {
            let root = !path.contains('.');
            let kept = map.get("x-kubernetes-preserve-unknown-fields") == Some(&json!(true));
            assert!(kept || root, "{path}: drops what it does not know");
        }
        for (name, mark) in [("items", "[]"), ("additionalProperties", "{}")] {
            if let Some(inner) = map.get(name) {
                structural(&format!("{path}{mark}"), inner);
            }
        }
        let array = map.get("type") == Some(&json!("array"));
        assert_eq!(array, map.contains_key("items"), "{path}: items");
    }

    #[test]
    fn every_schema_is_structural_and_stored_once() {
        for kind in &KINDS {
            let document = document(kind);
            let versions = document["spec"]["versions"].as_array().unwrap();
            let stored = versions.iter().filter(|v| v["storage"] == json!(true));
            assert_eq!(stored.count(), 1, "{}", kind.kind);
            for version in versions {
                structural(kind.kind, &version["schema"]["openAPIV3Schema"]);
            }
        }
    }
}
