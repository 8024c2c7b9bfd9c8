//! The mesh's own pods in a cluster, as processes that can be asked.

use ambit_api::{labels, ports};
use anyhow::Result;
use serde_json::Value;

use super::Cluster;

/// A pod of the mesh.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MeshPod {
    /// `ztunnel`, `agent`, `controller`, `waypoint`
    pub(crate) role: &'static str,
    /// Namespace
    pub(crate) namespace: String,
    /// Name
    pub(crate) name: String,
    /// Node
    pub(crate) node: Option<String>,
    /// Its containers run
    pub(crate) running: bool,
    /// Admin port
    pub(crate) admin: u16,
    /// Metrics port
    pub(crate) metrics: u16,
}

/// Role, label selector, admin port, metrics port.
const ROLES: [(&str, &str, u16, u16); 3] = [
    (
        "controller",
        "app.kubernetes.io/name=ambit-controller",
        ports::CONTROL_METRICS,
        ports::CONTROL_METRICS,
    ),
    ("ztunnel", "app=ztunnel", ports::ADMIN, ports::METRICS),
    (
        "agent",
        "app=ambit-cni-node",
        ports::CONTROL_METRICS,
        ports::CONTROL_METRICS,
    ),
];

impl Cluster {
    /// Every pod of the mesh: its own in `namespace`, waypoints and gateways anywhere.
    ///
    /// # Errors
    /// If the server does not answer.
    pub(crate) async fn mesh_pods(&self, namespace: &str) -> Result<Vec<MeshPod>> {
        let mut found = Vec::new();
        for (role, selector, admin, metrics) in ROLES {
            for pod in self.list("v1", "Pod", Some(namespace), selector).await? {
                found.extend(mesh_pod(role, &pod, admin, metrics));
            }
        }
        let selector = format!("{},{}", labels::GATEWAY_NAME, labels::MANAGED);
        for pod in self.list("v1", "Pod", None, &selector).await? {
            found.extend(mesh_pod("waypoint", &pod, ports::ADMIN, ports::METRICS));
        }
        Ok(found)
    }
}

fn mesh_pod(role: &'static str, pod: &Value, admin: u16, metrics: u16) -> Option<MeshPod> {
    let phase = pod
        .pointer("/status/phase")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if ["Succeeded", "Failed"].contains(&phase) {
        return None;
    }
    let text = |pointer: &str| {
        pod.pointer(pointer)
            .and_then(Value::as_str)
            .map(str::to_owned)
    };
    Some(MeshPod {
        role,
        namespace: text("/metadata/namespace")?,
        name: text("/metadata/name")?,
        node: text("/spec/nodeName"),
        running: phase == "Running",
        admin,
        metrics,
    })
}
