//! The documents of generated objects.

use crate::gateways::GatewayFact;
use crate::stable_hash::stable_hash;
use ambit_api::{labels, ports};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Map, Value, json};
use std::net::IpAddr;

/// Port of the status listener in a waypoint's Service.
const STATUS_PORT: &str = "status-port";

/// Names and labels of everything a gateway consists of.
pub(super) struct Names<'a> {
    namespace: &'a str,
    name: &'a str,
    labels: Map<String, Value>,
    annotations: Map<String, Value>,
}

impl<'a> Names<'a> {
    pub(super) fn of(gateway: &GatewayFact<'a>) -> Self {
        let (namespace, name) = gateway.name;
        let mut labels = Map::new();
        let mut annotations = Map::new();
        if let Some(extra) = &gateway.object.spec.infrastructure {
            let pairs = |map: &std::collections::BTreeMap<String, String>| {
                map.iter()
                    .map(|(k, v)| (k.clone(), Value::from(v.as_str())))
                    .collect::<Vec<_>>()
            };
            labels.extend(pairs(&extra.labels));
            annotations.extend(pairs(&extra.annotations));
        }
        let class = gateway.object.spec.gateway_class_name.as_str();
        for (key, value) in [
            (labels::GATEWAY_NAME, name),
            (labels::GATEWAY_CLASS_NAME, class),
            (labels::MANAGED, labels::MANAGED_WAYPOINT),
            (labels::DATAPLANE_MODE, "none"),
            (labels::CANONICAL_NAME, name),
            ("sidecar.istio.io/inject", "false"),
        ] {
            labels.insert(key.to_owned(), value.into());
        }
        Self {
            namespace,
            name,
            labels,
            annotations,
        }
    }

    fn metadata(&self, name: &str) -> Value {
        let mut metadata = json!({
            "name": name,
            "namespace": self.namespace,
            "labels": self.labels,
        });
        if !self.annotations.is_empty() {
            metadata["annotations"] = Value::Object(self.annotations.clone());
        }
        metadata
    }
}

pub(super) fn service_account(names: &Names<'_>) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": names.metadata(names.name),
    })
}

pub(super) fn service(names: &Names<'_>, gateway: &GatewayFact<'_>, ip: IpAddr) -> Value {
    let mut listed = vec![json!({
        "name": STATUS_PORT,
        "port": ports::READINESS,
        "targetPort": ports::READINESS,
        "protocol": "TCP",
        "appProtocol": "tcp",
    })];
    let mut add = |name: &str, port: u16| {
        if listed.iter().all(|p| p["port"] != json!(port)) {
            listed.push(json!({
                "name": name,
                "port": port,
                "targetPort": port,
                "protocol": "TCP",
                "appProtocol": "tcp",
            }));
        }
    };
    for listener in &gateway.object.spec.listeners {
        add(&listener.name, listener.port);
    }
    add("mesh", ports::HBONE);
    json!({
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": names.metadata(names.name),
        "spec": {
            "type": "ClusterIP",
            "clusterIP": ip.to_string(),
            "clusterIPs": [ip.to_string()],
            "selector": {labels::GATEWAY_NAME: names.name},
            "ports": listed,
        },
    })
}

/// The pod's name and document. Its name changes with everything that a running pod cannot change.
pub(super) fn pod(
    names: &Names<'_>,
    gateway: &GatewayFact<'_>,
    image: &str,
    node: &str,
) -> (String, Value) {
    let shape = Value::Object(names.labels.clone()).to_string();
    let hash = stable_hash(&[&gateway.key, image, node, &shape]);
    let name = format!("{}-{:010x}", names.name, hash & 0xff_ffff_ffff);
    let mut metadata = names.metadata(&name);
    metadata["uid"] = uid(&[&gateway.key, &name]).into();
    let port =
        |name: &str, number: u16| json!({"name": name, "containerPort": number, "protocol": "TCP"});
    let value = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "spec": {
            "serviceAccountName": names.name,
            "nodeName": node,
            "terminationGracePeriodSeconds": 30,
            "containers": [{
                "name": "waypoint",
                "image": image,
                "env": [{"name": "GATEWAY", "value": gateway.key}],
                "ports": [
                    port("mesh", ports::HBONE),
                    port("metrics", ports::METRICS),
                    port(STATUS_PORT, ports::READINESS),
                ],
                "readinessProbe": {
                    "httpGet": {"path": "/healthz/ready", "port": ports::READINESS},
                    "periodSeconds": 1,
                    "failureThreshold": 4,
                },
            }],
        },
    });
    (name, value)
}

/// A pod as it is, without its status: what keeps it in place.
pub(super) fn again(pod: &Pod) -> Value {
    let mut value = serde_json::to_value(pod).unwrap_or_default();
    if let Some(map) = value.as_object_mut() {
        map.remove("status");
        map.insert("apiVersion".to_owned(), "v1".into());
        map.insert("kind".to_owned(), "Pod".into());
    }
    value
}

/// A uid in the form Kubernetes gives, made from names.
fn uid(parts: &[&str]) -> String {
    let (a, b) = (
        stable_hash(parts),
        stable_hash(&[parts, &["again"]].concat()),
    );
    let b = (b & 0x3fff_ffff_ffff_ffff) | 0x8000_0000_0000_0000;
    format!(
        "{:08x}-{:04x}-8{:03x}-{:04x}-{:012x}",
        a >> 32,
        (a >> 16) & 0xffff,
        a & 0xfff,
        b >> 48,
        b & 0xffff_ffff_ffff
    )
}
