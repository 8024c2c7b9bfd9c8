//! The documents of generated objects.

use super::addresses::asked;
use crate::gateways::GatewayFact;
use crate::gateways::naming::MANAGED_GATEWAY;
use crate::selector::label;
use crate::stable_hash::stable_hash;
use ambit_api::{labels, ports};
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Map, Value, json};
use std::net::IpAddr;

/// Port of the status listener in a waypoint's Service.
pub(super) const STATUS_PORT: &str = "status-port";
/// Annotation: a waypoint in the client's zone is better than one far away.
const TRAFFIC_DISTRIBUTION: &str = "networking.istio.io/traffic-distribution";

/// Annotation of a Gateway: type of its Service.
const SERVICE_TYPE: &str = "networking.istio.io/service-type";
/// Types a Service with pods can have.
const SERVICE_TYPES: [&str; 3] = ["ClusterIP", "NodePort", "LoadBalancer"];
/// Keys of this group are the API's own.
const RESERVED: &str = "gateway.networking.k8s.io/";

/// Names and labels of everything a gateway consists of.
pub(super) struct Names<'a> {
    namespace: &'a str,
    gateway: &'a str,
    name: &'a str,
    account: &'a str,
    labels: Map<String, Value>,
    annotations: Map<String, Value>,
    owner: Option<Value>,
}

impl<'a> Names<'a> {
    pub(super) fn of(gateway: &'a GatewayFact<'a>) -> Self {
        let (namespace, gateway_name) = gateway.name;
        let name = gateway.generated.as_str();
        let manager = match gateway.is_ingress() {
            true => MANAGED_GATEWAY,
            false => labels::MANAGED_WAYPOINT,
        };
        let mut labels = Map::new();
        let mut annotations = Map::new();
        if let Some(extra) = &gateway.object.spec.infrastructure {
            let pairs = |map: &std::collections::BTreeMap<String, String>| {
                map.iter()
                    .filter(|(k, _)| !k.starts_with(RESERVED))
                    .map(|(k, v)| (k.clone(), Value::from(v.as_str())))
                    .collect::<Vec<_>>()
            };
            labels.extend(pairs(&extra.labels));
            annotations.extend(pairs(&extra.annotations));
        }
        let class = gateway.object.spec.gateway_class_name.as_str();
        for (key, value) in [
            (labels::GATEWAY_NAME, gateway_name),
            (labels::GATEWAY_CLASS_NAME, class),
            (labels::MANAGED, manager),
            (labels::DATAPLANE_MODE, "none"),
            (labels::CANONICAL_NAME, name),
            ("sidecar.istio.io/inject", "false"),
        ] {
            labels.insert(key.to_owned(), value.into());
        }
        Self {
            namespace,
            gateway: gateway_name,
            name,
            account: &gateway.account,
            labels,
            annotations,
            owner: None,
        }
    }

    /// Owned by the Gateway: gone when it is gone.
    pub(super) fn owned(mut self, gateway: &GatewayFact<'_>) -> Self {
        self.owner = gateway.object.metadata.uid.as_deref().map(|uid| {
            json!({
                "apiVersion": "gateway.networking.k8s.io/v1",
                "kind": "Gateway",
                "name": self.gateway,
                "uid": uid,
            })
        });
        self
    }

    /// Label by which its pods are selected.
    pub(super) fn selector(&self) -> Value {
        json!({labels::GATEWAY_NAME: self.gateway})
    }

    /// Name of most of what runs it.
    pub(super) fn name(&self) -> &str {
        self.name
    }

    /// Name of the service account.
    pub(super) fn account(&self) -> &str {
        self.account
    }

    /// Labels and annotations of pods.
    pub(super) fn pod_metadata(&self) -> Value {
        let mut metadata = json!({ "labels": self.labels });
        if !self.annotations.is_empty() {
            metadata["annotations"] = Value::Object(self.annotations.clone());
        }
        metadata
    }

    /// Metadata of an object; the Gateway owns it where Gateways have uids.
    pub(super) fn metadata(&self, name: &str) -> Value {
        let mut metadata = json!({
            "name": name,
            "namespace": self.namespace,
            "labels": self.labels,
        });
        if let Some(owner) = &self.owner {
            metadata["ownerReferences"] = json!([owner]);
        }
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
        "metadata": names.metadata(names.account),
    })
}

/// The Service. Without addresses Kubernetes assigns one of each family it has.
pub(super) fn service(
    names: &Names<'_>,
    gateway: &GatewayFact<'_>,
    ips: &[IpAddr],
) -> Result<Value, String> {
    let mut listed = vec![json!({
        "name": STATUS_PORT,
        "port": ports::READINESS,
        "targetPort": ports::READINESS,
        "protocol": "TCP",
        "appProtocol": "tcp",
    })];
    let mut add = |name: &str, port: u16, protocol: &str| {
        if listed.iter().all(|p| p["port"] != json!(port)) {
            // Names of ports are unique in a Service.
            let name = match name.is_empty() || listed.iter().any(|p| p["name"] == json!(name)) {
                true => format!("http-{port}"),
                false => name.to_owned(),
            };
            listed.push(json!({
                "name": name,
                "port": port,
                "targetPort": port,
                "protocol": "TCP",
                "appProtocol": protocol,
            }));
        }
    };
    if gateway.is_ingress() {
        for fact in gateway.listeners.iter().filter(|l| l.is_usable()) {
            add(&fact.listener.name, fact.listener.port, "http");
        }
        for server in &gateway.servers {
            add(server.name, server.port, "http");
        }
    } else {
        for listener in &gateway.object.spec.listeners {
            add(&listener.name, listener.port, "tcp");
        }
        add("mesh", ports::HBONE, "tcp");
    }
    let mut spec = json!({
        "type": service_type(gateway)?,
        "selector": names.selector(),
        "ports": listed,
    });
    let mut metadata = names.metadata(names.name);
    match ips.first() {
        Some(first) => {
            spec["clusterIP"] = first.to_string().into();
            spec["clusterIPs"] = json!(ips);
            if ips.iter().any(IpAddr::is_ipv6) {
                let family = |ip: &IpAddr| if ip.is_ipv4() { "IPv4" } else { "IPv6" };
                spec["ipFamilies"] = ips.iter().map(family).collect();
            }
        }
        None => {
            spec["ipFamilyPolicy"] = "PreferDualStack".into();
            let given = metadata["annotations"].get(TRAFFIC_DISTRIBUTION).is_some();
            if !given && !gateway.is_ingress() {
                metadata["annotations"][TRAFFIC_DISTRIBUTION] = "PreferClose".into();
            }
        }
    }
    if spec["type"] == "LoadBalancer"
        && let Some(asked) = asked(gateway)
    {
        spec["loadBalancerIP"] = asked.to_string().into();
    }
    Ok(json!({"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": spec}))
}

/// Waypoints are for the cluster, gateways for the outside unless they say otherwise.
fn service_type<'a>(gateway: &'a GatewayFact<'_>) -> Result<&'a str, String> {
    let annotations = gateway.object.metadata.annotations.as_ref();
    match label(annotations, SERVICE_TYPE) {
        Some(wanted) if SERVICE_TYPES.contains(&wanted) => Ok(wanted),
        Some(wanted) => Err(format!(
            "annotation {SERVICE_TYPE}: `{wanted}` is none of {}",
            SERVICE_TYPES.join(", ")
        )),
        None if gateway.is_ingress() => Ok("LoadBalancer"),
        None => Ok("ClusterIP"),
    }
}

/// The pod's name and document. Its name changes with everything that a running pod cannot change.
pub(super) fn pod(
    names: &Names<'_>,
    gateway: &GatewayFact<'_>,
    image: &str,
    node: &str,
) -> (String, Value) {
    let shape = Value::Object(names.labels.clone()).to_string();
    let hash = stable_hash(&[&gateway.key, image, node, &shape, names.account]);
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
            "serviceAccountName": names.account,
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
