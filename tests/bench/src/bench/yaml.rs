//! The objects of the stage. Pure.
//! In: a namespace, whether it is in the mesh, the program. Out: a client on node 1 and a server on node 2.

use std::path::Path;

use ambit_api::labels;
use serde_json::{Value, json};

/// Name of the client pod.
pub(crate) const CLIENT: &str = "client";
/// Name of the server pod.
pub(crate) const SERVER: &str = "server";

/// All objects of a namespace, one document each.
pub(crate) fn namespace(name: &str, mesh: bool, program: &Path) -> String {
    let labels = if mesh {
        json!({labels::DATAPLANE_MODE: "ambient"})
    } else {
        json!({})
    };
    let namespace = json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": labels},
    });
    let serve = json!({
        "command": [program],
        "args": ["serve", "--name", server(name)],
    });
    let sleep = json!({"command": ["sleep", "infinity"]});
    let documents = [
        namespace,
        account(name, CLIENT),
        account(name, SERVER),
        pod(name, CLIENT, "node-1", sleep),
        pod(name, SERVER, "node-2", serve),
    ];
    // JSON is YAML.
    documents
        .map(|document| document.to_string())
        .join("\n---\n")
}

/// What the server of a namespace calls itself.
pub(crate) fn server(namespace: &str) -> String {
    format!("{namespace}/{SERVER}")
}

fn account(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": namespace},
    })
}

fn pod(namespace: &str, name: &str, node: &str, mut container: Value) -> Value {
    container["name"] = json!(name);
    container["image"] = json!("ambit/tools");
    json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": namespace, "labels": {"app": name}},
        "spec": {
            "serviceAccountName": name,
            "nodeName": node,
            "terminationGracePeriodSeconds": 1,
            "containers": [container],
        },
    })
}
