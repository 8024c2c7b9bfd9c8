//! What is remembered between batches never shows: after any edits the output is that of a derivation
//! which remembers nothing, and what was told, batch by batch, comes to the same.

use super::*;
use crate::MeshConfig;
use crate::resource::Resource;
use ambit_api::type_urls;
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
    let kind = prop_oneof![4 => Just(0_usize), 4 => Just(1), 6 => 2..KINDS.len()];
    let edit = (kind, 0..NAMESPACES.len(), 0..3_usize, version);
    let edit = edit.prop_map(|(kind, namespace, name, version)| Edit {
        kind,
        namespace,
        name,
        version,
    });
    let batches = prop::collection::vec(prop::collection::vec(edit, 1..4), 1..24);
    let first = prop_oneof![1 => Just(Vec::new()), 3 => Just(ground())];
    (first, batches).prop_map(|(first, batches)| [vec![first], batches].concat())
}

/// A waypoint that is ready, services bound to it and routes of theirs: random edits seldom come to it.
fn ground() -> Vec<Edit> {
    let one = |kind: &str, name, version| Edit {
        kind: KINDS
            .iter()
            .position(|known| known.1 == kind)
            .expect("a kind"),
        namespace: 0,
        name,
        version: Some(version),
    };
    vec![
        one("Gateway", 0, 0),
        one("Pod", 0, 3),
        one("Pod", 1, 0),
        one("Pod", 2, 1),
        one("Service", 0, 0),
        one("Service", 1, 1),
        one("Service", 2, 3),
        one("ServiceEntry", 0, 2),
        one("VirtualService", 0, 1),
        one("DestinationRule", 0, 0),
        one("HTTPRoute", 1, 3),
    ]
}

type Body = fn(usize) -> Value;

/// Every kind with the versions of its objects, without names.
const KINDS: [(&str, &str, Body); 16] = [
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
    ("gateway.networking.k8s.io/v1beta1", "ReferenceGrant", grant),
    ("networking.istio.io/v1", "Gateway", istio_gateway),
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
    let labels = [
        json!({}),
        json!({"istio.io/use-waypoint": "n0"}),
        json!({"istio.io/ingress-use-waypoint": "true"}),
        json!({"istio.io/use-waypoint": "n0", "istio.io/ingress-use-waypoint": "true"}),
        json!({"istio.io/use-waypoint": "none", "istio.io/tag": "default", "istio.io/rev": "canary"}),
        json!({"gateway.networking.k8s.io/gateway-name": "n0"}),
    ];
    let addresses = [
        "10.96.0.1",
        "10.96.0.2",
        "None",
        "10.96.0.2",
        "wrong",
        "240.240.0.7",
    ];
    let (ports, app) = (80 + version % 2, version / 2 % 2);
    json!({"metadata": {"labels": labels[version % 6]},
        "spec": {"clusterIP": addresses[version % 6], "selector": {"app": format!("n{app}")},
            "ports": [{"name": "http", "port": ports, "targetPort": "http"}]}})
}

fn namespace(version: usize) -> Value {
    let labels = [
        json!({}),
        json!({"istio.io/use-waypoint": "n0"}),
        json!({"istio.io/use-waypoint": "n1", "istio.io/use-waypoint-namespace": "a"}),
        json!({"ambit.io/require-waypoint": "true", "istio.io/use-waypoint": "n2",
            "topology.istio.io/network": "n"}),
    ];
    let near = ["PreferClose", "PreferSameNode"][version % 2];
    json!({"metadata": {"labels": labels[version % 4],
        "annotations": {"networking.istio.io/traffic-distribution": near}}})
}

fn node(version: usize) -> Value {
    json!({"metadata": {"labels": {"topology.kubernetes.io/zone": format!("z{version}")}}})
}

fn slice(version: usize) -> Value {
    json!({"metadata": {"labels": {"kubernetes.io/service-name": format!("n{}", version % 3)}},
        "addressType": "IPv4", "ports": [{"name": "http", "port": 9000 + version}],
        "endpoints": [{"addresses": [format!("192.0.2.{}", version + 1)],
            "targetRef": {"kind": if version < 3 { "Pod" } else { "Node" }, "name": "n0"}}]})
}

fn gateway(version: usize) -> Value {
    let class = ["istio-waypoint", "istio", "other"][version % 3];
    let of = ["service", "all", "workload"][version / 2];
    let of_revision = ["", "", "canary"][version % 3];
    json!({"metadata": {"labels": {"istio.io/waypoint-for": of, "istio.io/rev": of_revision}}, "spec": {
        "gatewayClassName": class, "listeners": [{"name": "mesh", "port": 15008, "protocol": "HBONE",
            "allowedRoutes": {"namespaces": {"from": if version < 3 { "All" } else { "Same" }}}},
            {"name": "web", "port": 80, "protocol": "HTTP"}]}})
}

fn policy(version: usize) -> Value {
    let mut spec = json!({"action": "DENY", "rules": [{"from": [{"source":
        {"principals": [format!("cluster.local/ns/x/sa/v{version}")]}}]}]});
    if version.is_multiple_of(2) {
        spec["selector"] = json!({"matchLabels": {"app": format!("n{}", version % 3)}});
    }
    if version == 5 {
        spec["targetRefs"] = json!([{"kind": "Service", "group": "", "name": "n0"}]);
    }
    let revision = ["default", "", "canary", ""][version % 4];
    json!({"metadata": {"labels": {"istio.io/rev": revision}}, "spec": spec})
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
    let to = ["n1", "n0.b.svc.cluster.local", "e0.example"][version % 3];
    let subset = if version > 3 { "s" } else { "" };
    let gateways = if version == 2 {
        json!(["n0", "mesh"])
    } else {
        json!([])
    };
    json!({"spec": {"hosts": [format!("n{}", version % 2)], "gateways": gateways, "http": [
        {"route": [{"destination": {"host": to, "subset": subset}}], "timeout": format!("{}s", version + 1)}]}})
}

fn rule(version: usize) -> Value {
    let host = ["n0", "n1"][version / 3];
    json!({"spec": {"host": host, "subsets": [{"name": "s", "labels": {"version": format!("v{}", version % 3)}}]}})
}

fn http_route(version: usize) -> Value {
    let parent = match version {
        0..3 => json!({"kind": "Service", "group": "", "name": format!("n{version}")}),
        3 => json!({"kind": "ServiceEntry", "group": "networking.istio.io", "name": "n0"}),
        _ => json!({"name": "n0"}),
    };
    let backend = match version % 3 {
        0 => json!({"name": "n1", "port": 80}),
        1 => json!({"name": "n0", "namespace": "b", "port": 81}),
        _ => {
            json!({"name": "e0.example", "kind": "Hostname", "group": "networking.istio.io", "port": 81})
        }
    };
    json!({"spec": {"parentRefs": [parent], "rules": [{"backendRefs": [backend]}]}})
}

fn grant(version: usize) -> Value {
    let from = ["a", "istio-system"][version % 2];
    json!({"spec": {"to": [{"group": "", "kind": "Service"}],
        "from": [{"group": "gateway.networking.k8s.io", "kind": "HTTPRoute", "namespace": from}]}})
}

fn istio_gateway(version: usize) -> Value {
    json!({"spec": {"selector": {}, "servers": [
        {"port": {"number": 80 + version % 2, "name": "http", "protocol": "HTTP"}, "hosts": ["*"]}]}})
}

fn service_entry(version: usize) -> Value {
    let host = ["e0.example", "e1.example", "n0.a.svc.cluster.local"][version % 3];
    json!({"spec": {"hosts": [host], "resolution": "STATIC",
        "location": "MESH_INTERNAL", "ports": [{"name": "http", "number": 80 + version % 2, "protocol": "HTTP"}],
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

/// Everything by type and name, those of pods among them.
fn all<'o>(
    resources: &'o Resources,
    memory: &'o Memory,
) -> BTreeMap<(&'static str, Arc<str>), &'o Resource> {
    let others = resources.iter();
    let mut all: BTreeMap<_, _> = others
        .map(|((type_url, name), resource)| ((type_url, name.clone()), resource))
        .collect();
    for (name, resource) in memory.pods.resources() {
        let former = all.insert((type_urls::ADDRESS, name.clone()), resource);
        assert_eq!(former, None, "{name} is of pods alone");
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]
    #[test]
    fn what_is_remembered_never_shows(batches in edits()) {
        let mut index = Index::new(MeshConfig::default());
        let mut told = BTreeMap::new();
        for batch in batches {
            let former = index.wanted.clone();
            let output = index.apply(batch.iter().map(change).collect());
            let mut blank = Memory {
                seen_waypoints: index.memory.seen_waypoints.clone(),
                former_accounts: index.memory.former_accounts.clone(),
                allocated: index.memory.allocated.clone(),
                ..Memory::default()
            };
            let world = World::new(&index.config, &index.objects);
            let out = derive(&world, &mut blank);
            let whole = all(&out.resources, &blank);
            prop_assert_eq!(&whole, &all(&index.resources, &index.memory));
            let mut wanted = out.wanted;
            out.statuses.into_wanted(&mut wanted);
            leave_to_others(&world, &index.objects, &former, &mut wanted);
            prop_assert_eq!(&wanted, &index.wanted);
            for ResourceChange { type_url, name, resource } in output.resources {
                let key = (type_url, name);
                let former = told.get(&key).cloned();
                prop_assert_ne!(&former, &resource, "what stays is not told");
                match resource {
                    Some(resource) => drop(told.insert(key, resource)),
                    None => drop(told.remove(&key)),
                }
            }
            let told: BTreeMap<_, _> = told.iter().map(|(key, r)| (key.clone(), r)).collect();
            prop_assert_eq!(whole, told);
        }
    }
}
