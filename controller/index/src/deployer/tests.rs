//! What a waypoint becomes where Kubernetes schedules and assigns.

mod names;
mod overlays;
mod revisions;

use crate::{Change, Index, MeshConfig, Plan, WaypointForm, Write};
use ambit_crds::{Kind, Object, ObjectKey};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

struct Cluster {
    index: Index,
    written: BTreeMap<ObjectKey, Value>,
    removed: Vec<ObjectKey>,
}

impl Cluster {
    fn new() -> Self {
        Self::of("default")
    }

    fn of(revision: &str) -> Self {
        let config = MeshConfig {
            revision: revision.to_owned(),
            waypoint_image: "hub/waypoint:1".to_owned(),
            waypoints: WaypointForm::Deployments {
                control_plane: "https://istiod.istio-system.svc:15012".to_owned(),
            },
            ..MeshConfig::default()
        };
        Self {
            index: Index::new(config),
            written: BTreeMap::new(),
            removed: Vec::new(),
        }
    }

    fn apply(&mut self, documents: Vec<Value>) {
        let changes = documents
            .into_iter()
            .map(|value| Change::Upsert(Arc::new(Object::parse(value).unwrap())));
        let output = self.index.apply(changes.collect());
        self.take(output.plan);
    }

    fn delete(&mut self, key: ObjectKey) {
        let output = self.index.apply(vec![Change::Delete(key)]);
        self.take(output.plan);
    }

    fn take(&mut self, plan: Plan) {
        for write in plan.writes {
            match write {
                Write::Object { key, value } | Write::Status { key, status: value } => {
                    self.written.insert(key, value);
                }
                Write::Remove { key } => {
                    self.written.remove(&key);
                    self.removed.push(key);
                }
            }
        }
    }

    fn written(&self, kind: Kind) -> &Value {
        &self.written[&ObjectKey::new(kind, "shop", "waypoint")]
    }
}

fn gateway() -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway",
        "metadata": {"name": "waypoint", "namespace": "shop", "uid": "u-1"},
        "spec": {"gatewayClassName": "istio-waypoint",
            "listeners": [{"name": "mesh", "port": 15008, "protocol": "HBONE"}],
            "infrastructure": {"labels": {"team": "a"}}},
    })
}

fn service(labels: Value) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "waypoint", "namespace": "shop", "labels": labels},
        "spec": {"clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7"],
            "ports": [{"port": 15008, "protocol": "TCP"}]},
    })
}

fn pod() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "waypoint-x-y", "namespace": "shop", "labels": {
            "gateway.networking.k8s.io/gateway-name": "waypoint",
            "gateway.istio.io/managed": "istio.io-mesh-controller"}},
        "spec": {"nodeName": "n1", "serviceAccountName": "waypoint", "containers": []},
        "status": {"phase": "Running", "podIP": "10.244.1.9", "podIPs": [{"ip": "10.244.1.9"}],
            "conditions": [{"type": "Ready", "status": "True"}]},
    })
}

#[test]
fn a_gateway_becomes_account_service_and_deployment_that_it_owns() {
    let mut cluster = Cluster::new();
    cluster.apply(vec![gateway()]);
    let deployment = cluster.written(super::deployment::kind());
    for object in [
        cluster.written(Kind::ServiceAccount),
        cluster.written(Kind::Service),
        deployment,
    ] {
        let meta = &object["metadata"];
        assert_eq!(meta["ownerReferences"][0]["uid"], "u-1");
        assert_eq!(
            meta["labels"]["gateway.istio.io/managed"],
            "istio.io-mesh-controller"
        );
        assert_eq!(meta["labels"]["team"], "a");
    }
    assert_eq!(
        cluster.written(Kind::Service)["spec"].get("clusterIP"),
        None
    );
    assert_eq!(
        deployment["spec"].get("replicas"),
        None,
        "left to autoscalers"
    );
    let template = &deployment["spec"]["template"];
    assert_eq!(
        template["metadata"]["labels"]["istio.io/dataplane-mode"],
        "none"
    );
    let container = &template["spec"]["containers"][0];
    assert_eq!(container["image"], "hub/waypoint:1");
    let env: BTreeMap<&str, &Value> = container["env"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| (v["name"].as_str().unwrap(), &v["value"]))
        .collect();
    assert_eq!(env["GATEWAY"], "shop/waypoint");
    assert_eq!(env["XDS_ADDRESS"], "https://istiod.istio-system.svc:15012");
    assert!(env.contains_key("SERVICE_ACCOUNT") && env.contains_key("POD_NAME"));
    let token = &template["spec"]["volumes"][2]["projected"]["sources"][0]["serviceAccountToken"];
    assert_eq!(token["audience"], "istio-ca");
    assert!(!cluster.written.keys().any(|key| key.kind == Kind::Pod));
}

#[test]
fn its_addresses_are_said_once_a_pod_is_ready() {
    let mut cluster = Cluster::new();
    let managed = json!({"gateway.istio.io/managed": "istio.io-mesh-controller",
        "gateway.networking.k8s.io/gateway-name": "waypoint"});
    cluster.apply(vec![gateway(), service(managed)]);
    assert_eq!(cluster.written(Kind::Gateway).get("addresses"), None);
    cluster.apply(vec![pod()]);
    assert_eq!(
        cluster.written(Kind::Gateway)["addresses"],
        json!([
            {"type": "IPAddress", "value": "10.96.0.7"},
            {"type": "Hostname", "value": "waypoint.shop.svc.cluster.local"},
        ])
    );
    assert!(!cluster.removed.iter().any(|key| key.kind == Kind::Pod));
}

#[test]
fn what_a_gone_gateway_left_is_removed_and_a_service_of_the_user_is_not_touched() {
    let mut cluster = Cluster::new();
    cluster.apply(vec![gateway()]);
    cluster.delete(ObjectKey::new(Kind::Gateway, "shop", "waypoint"));
    let kinds: Vec<_> = cluster
        .removed
        .iter()
        .map(|key| key.kind.as_str())
        .collect();
    for kind in ["Deployment", "Service", "ServiceAccount"] {
        assert!(kinds.contains(&kind), "{kinds:?}");
    }
    let mut cluster = Cluster::new();
    cluster.apply(vec![gateway(), service(json!({}))]);
    assert!(
        !cluster
            .written
            .contains_key(&ObjectKey::new(Kind::Service, "shop", "waypoint"))
    );
}
