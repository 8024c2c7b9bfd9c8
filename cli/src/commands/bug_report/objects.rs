//! Objects: those of the mesh's kinds, what they are about, nodes and warnings. Never Secrets.

use anyhow::Result;
use serde_json::Value;

use super::Report;
use super::redact::strip;
use crate::install::{AMBIT, PART_OF};

/// Kinds of users: API version, kind.
const OF_USERS: [(&str, &str); 20] = [
    ("v1", "Pod"),
    ("v1", "Service"),
    ("v1", "ServiceAccount"),
    ("discovery.k8s.io/v1", "EndpointSlice"),
    ("apps/v1", "Deployment"),
    ("apps/v1", "StatefulSet"),
    ("networking.k8s.io/v1", "NetworkPolicy"),
    ("gateway.networking.k8s.io/v1", "Gateway"),
    ("gateway.networking.k8s.io/v1", "GRPCRoute"),
    ("gateway.networking.k8s.io/v1", "HTTPRoute"),
    ("gateway.networking.k8s.io/v1", "GRPCRoute"),
    ("gateway.networking.k8s.io/v1beta1", "ReferenceGrant"),
    ("networking.istio.io/v1", "Gateway"),
    ("networking.istio.io/v1", "VirtualService"),
    ("networking.istio.io/v1", "DestinationRule"),
    ("networking.istio.io/v1", "ServiceEntry"),
    ("networking.istio.io/v1", "WorkloadEntry"),
    ("security.istio.io/v1", "AuthorizationPolicy"),
    ("security.istio.io/v1", "PeerAuthentication"),
    ("security.istio.io/v1", "RequestAuthentication"),
];
/// Kinds of the whole cluster: API version, kind, label selector.
const OF_CLUSTER: [(&str, &str, &str); 4] = [
    ("v1", "Namespace", ""),
    ("v1", "Node", ""),
    ("gateway.networking.k8s.io/v1", "GatewayClass", ""),
    (
        "admissionregistration.k8s.io/v1",
        "ValidatingWebhookConfiguration",
        "app.kubernetes.io/part-of=ambit",
    ),
];
/// Kinds of the mesh's own namespace.
const OF_MESH: [(&str, &str); 5] = [
    ("apps/v1", "DaemonSet"),
    ("apps/v1", "Deployment"),
    ("v1", "ConfigMap"),
    ("v1", "Service"),
    ("coordination.k8s.io/v1", "Lease"),
];

impl Report<'_> {
    /// Objects, one file per kind.
    pub(super) async fn objects(&mut self) -> Result<()> {
        for (api_version, kind, selector) in OF_CLUSTER {
            let found = self.cluster.list(api_version, kind, None, selector).await;
            self.add_kind("cluster", (api_version, kind), found)?;
        }
        for (api_version, kind) in OF_USERS {
            let mut found = self.cluster.list(api_version, kind, None, "").await;
            if let Ok(objects) = &mut found {
                objects.retain(|o| self.args.takes(namespace(o)));
            }
            self.add_kind("objects", (api_version, kind), found)?;
        }
        for (api_version, kind) in OF_MESH {
            let selector = format!("{PART_OF}={AMBIT}");
            let own = Some(self.place.namespace.as_str());
            let found = self.cluster.list(api_version, kind, own, &selector).await;
            self.add_kind("mesh", (api_version, kind), found)?;
        }
        let mut events = self.cluster.list("v1", "Event", None, "").await;
        if let Ok(events) = &mut events {
            let own = self.place.namespace.as_str();
            events.retain(|e| namespace(e) == own || self.args.takes(namespace(e)));
        }
        self.add_kind("cluster", ("v1", "Event"), events)
    }

    fn add_kind(
        &mut self,
        folder: &str,
        (api_version, kind): (&str, &str),
        found: Result<Vec<Value>>,
    ) -> Result<()> {
        let group = api_version
            .split_once('/')
            .map_or("core", |(group, _)| group);
        let path = format!("{folder}/{}.{group}.yaml", kind.to_lowercase());
        self.bar.set_message(format!("{kind} of {group}"));
        let mut objects = match found {
            Ok(objects) => objects,
            Err(e) => {
                self.archive.failed(&path, &e);
                return Ok(());
            }
        };
        if objects.is_empty() {
            return Ok(());
        }
        let mut text = String::new();
        for object in &mut objects {
            strip(object);
            text.push_str("---\n");
            text.push_str(&serde_saphyr::to_string(object)?);
        }
        self.archive.text(&path, &text)
    }
}

fn namespace(object: &Value) -> &str {
    object["metadata"]["namespace"].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_never_asked_for() {
        let users = OF_USERS.iter().map(|(_, kind)| *kind);
        let cluster = OF_CLUSTER.iter().map(|(_, kind, _)| *kind);
        let mesh = OF_MESH.iter().map(|(_, kind)| *kind);
        assert!(
            users
                .chain(cluster)
                .chain(mesh)
                .all(|kind| kind != "Secret")
        );
    }
}
