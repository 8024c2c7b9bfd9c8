//! What is remembered between batches never shows: after any edits the output is that of a derivation
//! which remembers nothing.

use super::*;
use crate::MeshConfig;
use proptest::prelude::*;
use serde_json::{Value, json};

const NAMESPACES: [&str; 3] = ["a", "b", "istio-system"];

/// One edit of one object.
#[derive(Clone, Debug)]
struct Edit {
    kind: usize,
    namespace: usize,
    name: usize,
    /// Which version of it; none removes it.
    version: Option<usize>,
}

fn edits() -> impl Strategy<Value = Vec<Vec<Edit>>> {
    let version = prop_oneof![1 => Just(None), 4 => (0..6_usize).prop_map(Some)];
    // Pods and services change most.
    let kind = prop_oneof![4 => Just(0_usize), 3 => Just(1), 6 => 2..KINDS.len()];
    let edit = (kind, 0..NAMESPACES.len(), 0..3_usize, version);
    let edit = edit.prop_map(|(kind, namespace, name, version)| Edit {
        kind,
        namespace,
        name,
        version,
    });
    prop::collection::vec(prop::collection::vec(edit, 1..4), 1..24)
}

type Body = fn(usize) -> Value;

/// Every kind with the versions of its objects, without names.
const KINDS: [(&str, &str, Body); 14] = [
    ("v1", "Pod", pod),
    ("v1", "Service", service),
    ("v1", "Namespace", namespace),
    ("v1", "Node", node),
    ("discovery.k8s.io/v1", "EndpointSlice", slice),
    ("gateway.networking.k8s.io/v1", "Gateway", gateway),
    ("security.istio.io/v1", "AuthorizationPolicy", policy),
    ("security.istio.io/v1", "PeerAuthentication", peer),
    ("networking.istio.io/v1", "VirtualService", route),
    ("networking.istio.io/v1", "DestinationRule", rule),
    ("gateway.networking.k8s.io/v1", "HTTPRoute", http_route),
    ("networking.istio.io/v1", "ServiceEntry", service_entry),
    ("networking.istio.io/v1", "WorkloadEntry", workload_entry),
    ("v1", "ServiceAccount", |_| json!({})),
];

fn pod(version: usize) -> Value {
    let labels = [
        json!({"app": "n0"}),
        json!({"app": "n1", "version": "v2"}),
        json!({"app": "n0", "istio.io/use-waypoint": "n1"}),
        json!({"gateway.networking.k8s.io/gateway-name": "n0"}),
        json!({"gateway.networking.k8s.io/gateway-name": "n1", "app": "n1"}),
        json!({}),
    ];
    let ready = if version == 5 { "False" } else { "True" };
    json!({
        "metadata": {"labels": labels[version % 6], "annotations": {"ambient.istio.io/redirection": "enabled"}},
        "spec": {"nodeName": format!("n{}", version % 3),
            "containers": [{"name": "c", "ports": [{"name": "http", "containerPort": 8080}]}]},
        "status": {"podIPs": [{"ip": format!("10.0.0.{}", version + 1)}], "phase": "Running",
            "conditions": [{"type": "Ready", "status": ready}]}})
}

fn service(version: usize) -> Value {
    json!({"metadata": {"labels": if version == 1 { json!({"istio.io/use-waypoint": "n0"}) } else { json!({}) }},
        "spec": {"clusterIP": format!("10.96.0.{}", version + 1),
            "selector": {"app": format!("n{}", version % 2)},
            "ports": [{"name": "http", "port": 80 + version, "targetPort": "http"}]}})
}

fn namespace(version: usize) -> Value {
    let labels = [
        json!({}),
        json!({"istio.io/use-waypoint": "n0"}),
        json!({"istio.io/use-waypoint": "n1", "istio.io/use-waypoint-namespace": "a"}),
        json!({"ambit.io/require-waypoint": "true", "istio.io/use-waypoint": "n2"}),
    ];
    json!({"metadata": {"labels": labels[version % 4]}})
}

fn node(version: usize) -> Value {
    json!({"metadata": {"labels": {"topology.kubernetes.io/zone": format!("z{version}")}}})
}

fn slice(version: usize) -> Value {
    json!({"metadata": {"labels": {"kubernetes.io/service-name": format!("n{}", version % 3)}},
        "addressType": "IPv4", "ports": [{"name": "http", "port": 9000 + version}],
        "endpoints": [{"addresses": [format!("192.0.2.{}", version + 1)]}]})
}

fn gateway(version: usize) -> Value {
    let class = ["istio-waypoint", "istio", "other"][version % 3];
    let of = ["service", "all", "workload"][version % 3];
    json!({"metadata": {"labels": {"istio.io/waypoint-for": of}}, "spec": {
        "gatewayClassName": class, "listeners": [{"name": "mesh", "port": 15008, "protocol": "HBONE",
            "allowedRoutes": {"namespaces": {"from": if version < 3 { "All" } else { "Same" }}}}]}})
}

fn policy(version: usize) -> Value {
    let mut spec = json!({"action": "DENY", "rules": [{"from": [{"source":
        {"principals": [format!("cluster.local/ns/x/sa/v{version}")]}}]}]});
    if version.is_multiple_of(2) {
        spec["selector"] = json!({"matchLabels": {"app": format!("n{}", version % 3)}});
    }
    json!({ "spec": spec })
}

fn peer(version: usize) -> Value {
    let mode = ["STRICT", "PERMISSIVE"][version % 2];
    match version {
        0..3 => json!({"spec": {"mtls": {"mode": mode}}}),
        _ => json!({"spec": {"selector": {"matchLabels": {"app": "n0"}}, "mtls": {"mode": mode},
            "portLevelMtls": {"8080": {"mode": "STRICT"}}}}),
    }
}

fn route(version: usize) -> Value {
    json!({"spec": {"hosts": [format!("n{}", version % 2)], "http": [
        {"route": [{"destination": {"host": "n1"}}], "timeout": format!("{}s", version + 1)}]}})
}

fn rule(version: usize) -> Value {
    json!({"spec": {"host": "n0", "subsets": [{"name": "s", "labels": {"version": format!("v{version}")}}]}})
}

fn http_route(version: usize) -> Value {
    json!({"spec": {"parentRefs": [{"kind": "Service", "group": "", "name": format!("n{}", version % 3)}],
        "rules": [{"backendRefs": [{"name": "n1", "port": 80 + version}]}]}})
}

fn service_entry(version: usize) -> Value {
    json!({"spec": {"hosts": [format!("e{}.example", version % 2)], "resolution": "STATIC",
        "location": "MESH_INTERNAL", "ports": [{"name": "http", "number": 80 + version, "protocol": "HTTP"}],
        "workloadSelector": {"labels": {"app": format!("n{}", version % 2)}}}})
}

fn workload_entry(version: usize) -> Value {
    json!({"spec": {"address": format!("192.0.2.{}", version + 100), "labels": {"app": "n0"}}})
}

fn change(edit: &Edit) -> Change {
    let (api, kind, body) = KINDS[edit.kind];
    let mut document = body(edit.version.unwrap_or_default());
    if !document["metadata"].is_object() {
        document["metadata"] = json!({});
    }
    document["apiVersion"] = api.into();
    document["kind"] = kind.into();
    let name = match kind {
        "Namespace" => NAMESPACES[edit.namespace].to_owned(),
        _ => format!("n{}", edit.name),
    };
    document["metadata"]["name"] = name.into();
    document["metadata"]["namespace"] = NAMESPACES[edit.namespace].into();
    let object = Object::parse(document).expect("documents of this test are well formed");
    match edit.version {
        Some(_) => Change::Upsert(Arc::new(object)),
        None => Change::Delete(object.key()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]
    #[test]
    fn what_is_remembered_never_shows(batches in edits()) {
        let mut index = Index::new(MeshConfig::default());
        for batch in batches {
            index.apply(batch.iter().map(change).collect());
            let mut blank = Memory {
                seen_waypoints: index.memory.seen_waypoints.clone(),
                allocated: index.memory.allocated.clone(),
                ..Memory::default()
            };
            let out = derive(&World::new(&index.config, &index.objects), &mut blank);
            prop_assert_eq!(&out.resources, &index.resources);
        }
    }
}
