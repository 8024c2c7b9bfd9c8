//! What users lay over the objects of a gateway, and what of them scales it.

use super::{Cluster, gateway, pod, service};
use crate::deployer::{deployment, scaling};
use ambit_crds::{Kind, ObjectKey};
use serde_json::{Value, json};

fn map(namespace: &str, name: &str, class: Option<&str>, data: Value) -> Value {
    let labels = match class {
        Some(class) => json!({"gateway.istio.io/defaults-for-class": class}),
        None => json!({}),
    };
    json!({"apiVersion": "v1", "kind": "ConfigMap", "data": data,
        "metadata": {"name": name, "namespace": namespace, "labels": labels}})
}

fn with_parameters() -> Value {
    let mut gateway = gateway();
    gateway["spec"]["infrastructure"]["parametersRef"] =
        json!({"group": "", "kind": "ConfigMap", "name": "opts"});
    gateway
}

fn opts(data: Value) -> Value {
    map("shop", "opts", None, data)
}

fn accepted(cluster: &Cluster) -> (String, String, String) {
    let status = cluster.written(Kind::Gateway);
    let conditions = status["conditions"].as_array().unwrap();
    let found = conditions.iter().find(|c| c["type"] == "Accepted").unwrap();
    let text = |field: &str| found[field].as_str().unwrap().to_owned();
    (text("status"), text("reason"), text("message"))
}

fn has(cluster: &Cluster, kind: Kind) -> bool {
    let key = ObjectKey::new(kind, "shop", "waypoint");
    cluster.written.contains_key(&key)
}

#[test]
fn overlays_of_the_class_come_first_and_the_gateways_own_win() {
    let mut cluster = Cluster::new();
    cluster.apply(vec![
        map(
            "istio-system",
            "defaults",
            Some("istio-waypoint"),
            json!({"deployment": "spec: {replicas: 2, template: {spec: {priorityClassName: high}}}",
                "service": "metadata: {annotations: {a: class}}"}),
        ),
        map("istio-system", "others", Some("istio"), json!({"deployment": "spec: {replicas: 9}"})),
        map("shop", "no-defaults", Some("istio-waypoint"), json!({"deployment": "spec: {replicas: 8}"})),
        opts(json!({"deployment": "spec: {replicas: 3}", "serviceAccount": "metadata: {annotations: {role: r}}"})),
        with_parameters(),
    ]);
    assert_eq!(accepted(&cluster).0, "True");
    let deployment = cluster.written(deployment::kind());
    assert_eq!(deployment["spec"]["replicas"], 3);
    assert_eq!(
        deployment["spec"]["template"]["spec"]["priorityClassName"],
        "high"
    );
    let annotations = &cluster.written(Kind::Service)["metadata"]["annotations"];
    assert_eq!(annotations["a"], "class");
    let annotations = &cluster.written(Kind::ServiceAccount)["metadata"]["annotations"];
    assert_eq!(annotations["role"], "r");
    cluster.delete(ObjectKey::new(Kind::ConfigMap, "istio-system", "defaults"));
    let deployment = cluster.written(deployment::kind());
    assert_eq!(
        deployment["spec"]["template"]["spec"].get("priorityClassName"),
        None
    );
}

#[test]
fn wrong_parameters_are_said_and_what_runs_stays() {
    let mut cluster = Cluster::new();
    cluster.apply(vec![
        opts(json!({"deployment": "spec: {replicas: 3}"})),
        with_parameters(),
    ]);
    assert!(has(&cluster, scaling::budget_kind()));
    for (change, wanted) in [
        (
            opts(json!({"deployment": "spec: ["})),
            "ConfigMap shop/opts, key deployment: not YAML",
        ),
        (
            opts(json!({"deployment": "spec: {replicas: x}"})),
            "key deployment: spec.replicas: invalid type",
        ),
        (
            opts(json!({"deployments": ""})),
            "ConfigMap shop/opts: unknown key deployments",
        ),
        (
            opts(json!({"service": "metadata: {name: x}"})),
            "key service: metadata.name: cannot be changed",
        ),
    ] {
        cluster.apply(vec![change]);
        let (status, reason, message) = accepted(&cluster);
        assert_eq!((&*status, &*reason), ("False", "InvalidParameters"));
        assert!(message.contains(wanted), "{message}");
        assert_eq!(cluster.written(deployment::kind())["spec"]["replicas"], 3);
        assert!(has(&cluster, Kind::Service) && has(&cluster, scaling::budget_kind()));
    }
    cluster.delete(ObjectKey::new(Kind::ConfigMap, "shop", "opts"));
    assert!(
        accepted(&cluster)
            .2
            .contains("there is no ConfigMap shop/opts")
    );
    assert_eq!(cluster.written(deployment::kind())["spec"]["replicas"], 3);
    let mut other = with_parameters();
    other["spec"]["infrastructure"]["parametersRef"] =
        json!({"group": "x.io", "kind": "Params", "name": "opts"});
    cluster.apply(vec![other]);
    assert!(
        accepted(&cluster)
            .2
            .contains("Params.x.io is not supported")
    );
    let mut typed = gateway();
    typed["metadata"]["annotations"] = json!({"networking.istio.io/service-type": "Internal"});
    cluster.apply(vec![typed]);
    assert!(accepted(&cluster).2.contains("`Internal` is none of"));
    cluster.apply(vec![gateway()]);
    assert_eq!(accepted(&cluster).0, "True");
    let spec = &cluster.written(deployment::kind())["spec"];
    assert_eq!(spec.get("replicas"), None);
    assert!(!has(&cluster, scaling::budget_kind()));
}

#[test]
fn a_gateway_with_wrong_parameters_from_the_start_gets_nothing() {
    let mut cluster = Cluster::new();
    cluster.apply(vec![with_parameters()]);
    assert_eq!(accepted(&cluster).1, "InvalidParameters");
    assert!(!has(&cluster, deployment::kind()) && !has(&cluster, Kind::Service));
    assert!(cluster.removed.is_empty(), "{:?}", cluster.removed);
}

#[test]
fn a_budget_never_blocks_a_drain_by_itself() {
    let cases = [
        (json!({}), None),
        (json!({"deployment": "spec: {replicas: 1}"}), None),
        (
            json!({"deployment": "spec: {replicas: 2}"}),
            Some(json!({"maxUnavailable": 1})),
        ),
        (
            json!({"podDisruptionBudget": "spec: {minAvailable: 1}"}),
            Some(json!({"minAvailable": 1})),
        ),
        (
            json!({"podDisruptionBudget": "metadata: {labels: {a: b}}"}),
            Some(json!({"maxUnavailable": 1})),
        ),
        (
            json!({"horizontalPodAutoscaler": "spec: {minReplicas: 2, maxReplicas: 4}"}),
            Some(json!({"maxUnavailable": 1})),
        ),
        (
            json!({"horizontalPodAutoscaler": "spec: {maxReplicas: 4}"}),
            None,
        ),
    ];
    for (data, wanted) in cases {
        let mut cluster = Cluster::new();
        cluster.apply(vec![opts(data.clone()), with_parameters()]);
        assert_eq!(
            has(&cluster, scaling::budget_kind()),
            wanted.is_some(),
            "{data}"
        );
        let Some(wanted) = wanted else { continue };
        let spec = &cluster.written(scaling::budget_kind())["spec"];
        assert_eq!(spec["unhealthyPodEvictionPolicy"], "AlwaysAllow");
        for limit in ["minAvailable", "maxUnavailable"] {
            assert_eq!(spec.get(limit), wanted.get(limit), "{data}");
        }
        let selector = &spec["selector"]["matchLabels"];
        assert_eq!(
            selector["gateway.networking.k8s.io/gateway-name"],
            "waypoint"
        );
    }
}

#[test]
fn an_autoscaler_decides_the_number_of_pods_alone() {
    let mut cluster = Cluster::new();
    let data = json!({"horizontalPodAutoscaler": "spec: {minReplicas: 2, maxReplicas: 5}",
        "deployment": "spec: {replicas: 7}"});
    cluster.apply(vec![opts(data), with_parameters()]);
    let scaler = cluster.written(scaling::autoscaler_kind());
    assert_eq!(scaler["spec"]["scaleTargetRef"]["name"], "waypoint");
    assert_eq!(scaler["spec"]["maxReplicas"], 5);
    assert_eq!(scaler["metadata"]["ownerReferences"][0]["uid"], "u-1");
    assert_eq!(
        cluster.written(deployment::kind())["spec"].get("replicas"),
        None
    );
    cluster.delete(ObjectKey::new(Kind::Gateway, "shop", "waypoint"));
    let gone = |kind| {
        cluster
            .removed
            .contains(&ObjectKey::new(kind, "shop", "waypoint"))
    };
    assert!(gone(scaling::autoscaler_kind()) && gone(scaling::budget_kind()));
}

#[test]
fn pods_are_spread_confined_and_know_how_long_they_may_take_to_end() {
    let mut cluster = Cluster::new();
    let data =
        json!({"deployment": "spec: {template: {spec: {terminationGracePeriodSeconds: 90}}}"});
    for (objects, seconds) in [
        (vec![gateway()], "30"),
        (vec![opts(data), with_parameters()], "90"),
    ] {
        cluster.apply(objects);
        let spec = &cluster.written(deployment::kind())["spec"];
        assert_eq!(spec["strategy"]["rollingUpdate"]["maxUnavailable"], 0);
        let pod = &spec["template"]["spec"];
        assert_eq!(
            pod["securityContext"]["seccompProfile"]["type"],
            "RuntimeDefault"
        );
        let spread = &pod["topologySpreadConstraints"][0];
        assert_eq!(spread["topologyKey"], "kubernetes.io/hostname");
        assert_eq!(pod.get("priorityClassName"), None);
        let container = &pod["containers"][0];
        assert_eq!(container["securityContext"]["runAsNonRoot"], true);
        assert_eq!(container["securityContext"]["readOnlyRootFilesystem"], true);
        let env = container["env"].as_array().unwrap();
        let grace = env
            .iter()
            .find(|v| v["name"] == "TERMINATION_GRACE_PERIOD_SECONDS");
        assert_eq!(grace.unwrap()["value"], seconds);
    }
}

#[test]
fn the_address_is_where_clients_reach_it() {
    let managed = json!({"gateway.istio.io/managed": "istio.io-mesh-controller"});
    let hostname = json!({"type": "Hostname", "value": "waypoint.shop.svc.cluster.local"});
    let ip = |ip: &str| json!({"type": "IPAddress", "value": ip});
    let cases = [
        (
            json!({}),
            json!({}),
            json!([ip("10.96.0.7"), hostname]),
            "Programmed",
        ),
        (
            json!({"networking.istio.io/address-type": "Hostname"}),
            json!({}),
            json!([hostname]),
            "Programmed",
        ),
        (
            json!({"networking.istio.io/address-type": "IPAddress"}),
            json!({"clusterIPs": ["10.96.0.7", "fd96::7"]}),
            json!([ip("10.96.0.7"), ip("fd96::7")]),
            "Programmed",
        ),
        (
            json!({}),
            json!({"type": "LoadBalancer"}),
            Value::Null,
            "AddressNotAssigned",
        ),
        (
            json!({}),
            json!({"type": "LoadBalancer", "ingress": [{"ip": "192.0.2.1"}, {"hostname": "lb.example"}, {"ip": "2001:db8::1"}]}),
            json!([ip("192.0.2.1"), {"type": "Hostname", "value": "lb.example"}, ip("2001:db8::1")]),
            "Programmed",
        ),
        (
            json!({}),
            json!({"type": "NodePort"}),
            json!([ip("10.96.0.7"), hostname]),
            "Programmed",
        ),
    ];
    for (annotations, spec, addresses, reason) in cases {
        let mut gateway = gateway();
        gateway["metadata"]["annotations"] = annotations;
        let mut service = service(managed.clone());
        for (field, value) in spec.as_object().unwrap() {
            match field.as_str() {
                "ingress" => service["status"] = json!({"loadBalancer": {"ingress": value}}),
                field => service["spec"][field] = value.clone(),
            }
        }
        let mut cluster = Cluster::new();
        cluster.apply(vec![gateway, service, pod()]);
        let status = cluster.written(Kind::Gateway);
        assert_eq!(
            status.get("addresses").unwrap_or(&Value::Null),
            &addresses,
            "{spec}"
        );
        let conditions = status["conditions"].as_array().unwrap();
        let programmed = conditions
            .iter()
            .find(|c| c["type"] == "Programmed")
            .unwrap();
        assert_eq!(programmed["reason"], reason, "{spec}");
    }
}
