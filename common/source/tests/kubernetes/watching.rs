//! Watching: what is told, and when.

use crate::api::Api;
use ambit_source::kubernetes::{Kinds, watch};
use ambit_source::{Batch, Change, Watch};
use serde_json::{Value, json};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(30);
const GATEWAYS: &str = "apis/gateway.networking.k8s.io/v1/gateways";

async fn next(watch: &mut Watch) -> Batch {
    let batch = tokio::time::timeout(LIMIT, watch.next()).await;
    batch.expect("a batch in time").unwrap()
}

/// Changes of as many batches as it takes to have `count` of them.
async fn changes(watch: &mut Watch, count: usize) -> Vec<String> {
    let mut all = Vec::new();
    while all.len() < count {
        let batch = next(watch).await;
        all.extend(batch.changes.iter().map(|change| match change {
            Change::Upsert(object) => format!("+{}", object.key()),
            Change::Delete(key) => format!("-{key}"),
        }));
    }
    all
}

fn named(namespace: &str, name: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": namespace}})
}

fn service(name: &str, ports: Value) -> Value {
    let mut object = named("n", name);
    object["spec"] = json!({ "ports": ports });
    object
}

fn gateway(name: &str) -> Value {
    let mut object = named("n", name);
    object["spec"] = json!({"gatewayClassName": "istio-waypoint", "listeners": [
        {"name": "mesh", "port": 15008, "protocol": "HBONE"}]});
    object
}

#[tokio::test]
async fn the_first_batch_is_everything_and_then_comes_what_changes() {
    let api = Api::new();
    api.put("api/v1/namespaces", json!({"metadata": {"name": "n"}}));
    api.put("api/v1/services", service("a", json!([])));
    api.install("gateway.networking.k8s.io/v1", "gateways");
    api.put(GATEWAYS, gateway("g"));
    let mut watch = watch(api.client(), Kinds::Mesh);
    let first = changes(&mut watch, 1).await;
    assert_eq!(first, ["+Namespace n", "+Service n/a", "+Gateway n/g"]);
    api.put("api/v1/services", service("b", json!([])));
    assert_eq!(changes(&mut watch, 1).await, ["+Service n/b"]);
    api.delete("api/v1/services", "n", "a");
    assert_eq!(changes(&mut watch, 1).await, ["-Service n/a"]);
    api.delete(GATEWAYS, "n", "g");
    assert_eq!(changes(&mut watch, 1).await, ["-Gateway n/g"]);
}

#[tokio::test]
async fn config_maps_are_read_only_where_a_gateway_names_them() {
    let api = Api::new();
    api.install("gateway.networking.k8s.io/v1", "gateways");
    let map = |name: &str, text: &str| {
        let mut object = named("n", name);
        object["data"] = json!({ "deployment": text });
        object
    };
    api.put("api/v1/configmaps", map("opts", "one"));
    api.put("api/v1/configmaps", map("secret", "two"));
    let mut naming = gateway("g");
    naming["spec"]["infrastructure"] =
        json!({"parametersRef": {"group": "", "kind": "ConfigMap", "name": "opts"}});
    api.put(GATEWAYS, naming);
    let kinds = Kinds::MeshAndOverlays("istio-system".to_owned());
    let mut watch = watch(api.client(), kinds);
    let first = changes(&mut watch, 2).await;
    assert_eq!(first, ["+ConfigMap n/opts", "+Gateway n/g"]);
    api.put("api/v1/configmaps", map("opts", "three"));
    assert_eq!(changes(&mut watch, 1).await, ["+ConfigMap n/opts"]);
    api.put(GATEWAYS, gateway("g"));
    let mut then = changes(&mut watch, 2).await;
    then.sort_unstable();
    assert_eq!(then, ["+Gateway n/g", "-ConfigMap n/opts"]);
}

#[tokio::test]
async fn a_kind_is_watched_as_soon_as_it_is_installed_and_forgotten_when_it_goes() {
    let api = Api::new();
    let mut watch = watch(api.client(), Kinds::Mesh);
    assert_eq!(next(&mut watch).await, Batch::default());
    api.install("gateway.networking.k8s.io/v1", "gateways");
    api.put(GATEWAYS, gateway("g"));
    assert_eq!(changes(&mut watch, 1).await, ["+Gateway n/g"]);
    api.uninstall("gateway.networking.k8s.io/v1", "gateways");
    assert_eq!(changes(&mut watch, 1).await, ["-Gateway n/g"]);
    api.install("gateway.networking.k8s.io/v1", "gateways");
    api.put(GATEWAYS, gateway("h"));
    assert_eq!(changes(&mut watch, 1).await, ["+Gateway n/h"]);
}

#[tokio::test]
async fn a_broken_watch_resumes_where_it_was() {
    let api = Api::new();
    api.put("api/v1/services", service("a", json!([])));
    let mut watch = watch(api.client(), Kinds::Mesh);
    changes(&mut watch, 1).await;
    let lists = || {
        let gets = api.requests("GET").into_iter();
        let of = |path: &str| path.starts_with("/api/v1/services?") && !path.contains("watch");
        gets.filter(|(path, _)| of(path)).count()
    };
    assert_eq!(lists(), 1);
    api.break_watches();
    api.put("api/v1/services", service("b", json!([])));
    assert_eq!(changes(&mut watch, 1).await, ["+Service n/b"]);
    assert_eq!(lists(), 1, "resumed, not listed again");
}

#[tokio::test]
async fn what_went_away_unseen_is_gone_after_a_new_list() {
    let api = Api::new();
    for name in ["a", "b"] {
        api.put("api/v1/services", service(name, json!([])));
    }
    let mut watch = watch(api.client(), Kinds::Mesh);
    changes(&mut watch, 2).await;
    api.break_watches();
    api.delete("api/v1/services", "n", "a");
    api.put("api/v1/services", service("c", json!([])));
    api.forget();
    api.break_watches();
    let mut seen = changes(&mut watch, 2).await;
    seen.sort();
    assert_eq!(seen, ["+Service n/c", "-Service n/a"]);
}

#[tokio::test]
async fn a_bad_object_is_a_problem_and_its_last_good_version_stays() {
    let api = Api::new();
    api.put("api/v1/services", service("a", json!([{"port": 80}])));
    let mut watch = watch(api.client(), Kinds::Mesh);
    changes(&mut watch, 1).await;
    api.put("api/v1/services", service("a", json!("none")));
    let bad = next(&mut watch).await;
    assert_eq!(bad.changes, []);
    let [problem] = &bad.problems[..] else {
        panic!("{bad:?}")
    };
    assert!(problem.is_error() && problem.to_string().starts_with("services/n/a: "));
    api.put("api/v1/services", service("a", json!([{"port": 81}])));
    let good = next(&mut watch).await;
    assert_eq!((good.changes.len(), good.problems.len()), (1, 0));
}

#[tokio::test]
async fn a_heartbeat_is_no_change() {
    let api = Api::new();
    let node = |beat: &str| {
        json!({"metadata": {"name": "n1", "managedFields": [{"time": beat}]},
            "status": {"conditions": [{"type": "Ready", "lastHeartbeatTime": beat}]}})
    };
    api.put("api/v1/nodes", node("2026-01-01T00:00:00Z"));
    let mut watch = watch(api.client(), Kinds::Mesh);
    assert_eq!(changes(&mut watch, 1).await, ["+Node n1"]);
    api.put("api/v1/nodes", node("2026-01-01T00:00:10Z"));
    api.put("api/v1/services", service("a", json!([])));
    assert_eq!(changes(&mut watch, 1).await, ["+Service n/a"]);
}

#[tokio::test]
async fn an_agent_watches_its_own_pods_and_all_namespaces_and_nothing_else() {
    let api = Api::new();
    api.put("api/v1/namespaces", json!({"metadata": {"name": "n"}}));
    api.put("api/v1/pods", named("n", "p"));
    let mut watch = watch(api.client(), Kinds::Node("n1".into()));
    assert_eq!(changes(&mut watch, 2).await, ["+Namespace n", "+Pod n/p"]);
    for (path, _) in api.requests("GET") {
        let pods = path.starts_with("/api/v1/pods?") && path.contains("spec.nodeName%3Dn1");
        assert!(pods || path.starts_with("/api/v1/namespaces?"), "{path}");
    }
}
