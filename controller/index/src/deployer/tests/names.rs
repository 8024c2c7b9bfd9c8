//! What runs a gateway, by another name and as somebody else.

use super::super::{deployment, scaling};
use super::*;

const NAME: &str = "gateway.istio.io/name-override";
const ACCOUNT: &str = "gateway.istio.io/service-account";

fn annotated(annotations: Value) -> Value {
    let mut gateway = gateway();
    gateway["metadata"]["annotations"] = annotations;
    gateway
}

fn managed(name: &str) -> Value {
    let mut service = service(json!({
        "gateway.networking.k8s.io/gateway-name": "waypoint",
        "gateway.istio.io/managed": "istio.io-mesh-controller"}));
    service["metadata"]["name"] = name.into();
    service
}

/// A pod of a Deployment, with an account.
fn runs(deployment: &str, account: &str, ready: bool) -> Value {
    let mut pod = pod();
    pod["metadata"]["name"] = format!("{deployment}-7d9-x").into();
    pod["metadata"]["labels"]["pod-template-hash"] = "7d9".into();
    pod["metadata"]["ownerReferences"] = json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet",
        "name": format!("{deployment}-7d9"), "uid": "u", "controller": true}]);
    pod["spec"]["serviceAccountName"] = account.into();
    let status = if ready { "True" } else { "False" };
    pod["status"]["conditions"][0]["status"] = status.into();
    pod
}

fn key(kind: Kind, name: &str) -> ObjectKey {
    ObjectKey::new(kind, "shop", name)
}

fn accepted(cluster: &Cluster, gateway: &str) -> (String, String) {
    let status = &cluster.written[&key(Kind::Gateway, gateway)];
    let conditions = status["conditions"].as_array().unwrap();
    let found = conditions.iter().find(|c| c["type"] == "Accepted").unwrap();
    let text = |field: &str| found[field].as_str().unwrap().to_owned();
    (text("reason"), text("message"))
}

impl Cluster {
    fn has(&self, kind: Kind, name: &str) -> bool {
        self.written.contains_key(&key(kind, name))
    }

    fn removes(&self, kind: Kind, name: &str) -> bool {
        self.removed.contains(&key(kind, name))
    }
}

#[test]
fn names_and_account_are_those_of_the_annotations() {
    let mut cluster = Cluster::new();
    cluster.apply(vec![annotated(json!({NAME: "edge", ACCOUNT: "runner"}))]);
    let running = &cluster.written[&key(deployment::kind(), "edge")];
    let template = &running["spec"]["template"];
    assert_eq!(template["spec"]["serviceAccountName"], "runner");
    let selected = json!({"gateway.networking.k8s.io/gateway-name": "waypoint"});
    assert_eq!(running["spec"]["selector"]["matchLabels"], selected);
    let front = &cluster.written[&key(Kind::Service, "edge")];
    assert_eq!(front["spec"]["selector"], selected);
    assert!(cluster.has(Kind::ServiceAccount, "runner"));
    for (kind, name) in [
        (Kind::ServiceAccount, "waypoint"),
        (Kind::ServiceAccount, "edge"),
        (Kind::Service, "waypoint"),
    ] {
        assert!(!cluster.has(kind.clone(), name), "{kind} {name}");
    }
    assert!(cluster.index.gateway_accounts().iter().eq(["shop/runner"]));

    // The name alone leaves the identity as it was.
    let mut cluster = Cluster::new();
    cluster.apply(vec![annotated(json!({NAME: "edge"}))]);
    assert!(cluster.has(Kind::ServiceAccount, "waypoint"));

    // The user's own account is used, and not touched.
    let own = json!({"apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": "runner", "namespace": "shop"}});
    let mut cluster = Cluster::new();
    cluster.apply(vec![own, annotated(json!({ACCOUNT: "runner"}))]);
    assert!(!cluster.has(Kind::ServiceAccount, "runner"));
    let running = cluster.written(deployment::kind());
    let pod = &running["spec"]["template"]["spec"];
    assert_eq!(pod["serviceAccountName"], "runner");
}

#[test]
fn what_serves_under_a_former_name_stays_until_the_new_one_is_ready() {
    let mut cluster = Cluster::new();
    cluster.apply(vec![
        gateway(),
        managed("waypoint"),
        runs("waypoint", "waypoint", true),
    ]);
    cluster.removed.clear();
    cluster.apply(vec![annotated(json!({NAME: "edge"}))]);
    assert!(cluster.has(deployment::kind(), "edge") && cluster.has(Kind::Service, "edge"));
    cluster.apply(vec![managed("edge"), runs("edge", "waypoint", false)]);
    let kinds = [
        Kind::Service,
        deployment::kind(),
        scaling::autoscaler_kind(),
        scaling::budget_kind(),
    ];
    for kind in &kinds {
        assert!(!cluster.removes(kind.clone(), "waypoint"), "{kind}");
    }
    cluster.apply(vec![runs("edge", "waypoint", true)]);
    for kind in kinds {
        assert!(cluster.removes(kind.clone(), "waypoint"), "{kind}");
    }
    assert!(!cluster.removes(Kind::ServiceAccount, "waypoint"));

    // A controller that starts in between knows the same.
    let mut cluster = Cluster::new();
    let former = [managed("waypoint"), runs("waypoint", "waypoint", true)];
    let mut all = vec![annotated(json!({NAME: "edge"}))];
    all.extend(former);
    cluster.apply(all);
    assert!(!cluster.removes(Kind::Service, "waypoint"));
    cluster.apply(vec![runs("edge", "waypoint", true)]);
    assert!(cluster.removes(Kind::Service, "waypoint"));
}

#[test]
fn an_account_stays_and_is_served_until_no_pod_has_it() {
    let mut cluster = Cluster::new();
    let old = runs("waypoint", "waypoint", true);
    cluster.apply(vec![gateway(), managed("waypoint"), old.clone()]);
    cluster.apply(vec![annotated(json!({ACCOUNT: "runner"}))]);
    assert!(cluster.has(Kind::ServiceAccount, "runner"));
    assert!(!cluster.removes(Kind::ServiceAccount, "waypoint"));
    let accounts = cluster.index.gateway_accounts();
    assert!(accounts.iter().eq(["shop/runner", "shop/waypoint"]));
    let mut new = runs("waypoint", "runner", true);
    new["metadata"]["name"] = "waypoint-7d9-y".into();
    cluster.apply(vec![new]);
    assert!(!cluster.removes(Kind::ServiceAccount, "waypoint"));
    cluster.delete(key(Kind::Pod, "waypoint-7d9-x"));
    assert!(cluster.removes(Kind::ServiceAccount, "waypoint"));
    assert!(cluster.index.gateway_accounts().iter().eq(["shop/runner"]));
}

#[test]
fn a_name_that_cannot_be_is_told_and_leaves_what_runs() {
    let mut cluster = Cluster::new();
    let running = runs("waypoint", "waypoint", true);
    cluster.apply(vec![gateway(), managed("waypoint"), running]);
    for annotations in [json!({NAME: "No_Name"}), json!({ACCOUNT: "a/b"})] {
        cluster.removed.clear();
        cluster.written.clear();
        cluster.apply(vec![annotated(annotations.clone())]);
        assert!(cluster.removed.is_empty(), "{:?}", cluster.removed);
        let written: Vec<_> = cluster.written.keys().map(|key| &key.kind).collect();
        assert_eq!(written, [&Kind::Gateway], "{annotations}");
        let (reason, message) = accepted(&cluster, "waypoint");
        assert_eq!(reason, "InvalidParameters");
        assert!(
            message.contains("annotations.gateway.istio.io/"),
            "{message}"
        );
        cluster.apply(vec![gateway()]);
    }
}

#[test]
fn of_two_that_want_one_name_the_first_has_it() {
    let mut cluster = Cluster::new();
    let mut second = annotated(json!({NAME: "waypoint"}));
    second["metadata"]["name"] = "second".into();
    cluster.apply(vec![gateway(), managed("waypoint")]);
    cluster.written.clear();
    cluster.apply(vec![second]);
    let said = "the name waypoint is that of Gateway shop/waypoint";
    assert_eq!(accepted(&cluster, "second").1, said);
    assert!(!cluster.has(Kind::Service, "waypoint"));
    cluster.delete(key(Kind::Gateway, "waypoint"));
    cluster.delete(key(Kind::Service, "waypoint"));
    assert_eq!(accepted(&cluster, "second").0, "Accepted");
    assert!(cluster.has(Kind::Service, "waypoint"));
}

#[test]
fn a_gateway_that_a_newer_controller_has_taken_is_left_to_it() {
    let mut cluster = Cluster::new();
    let running = runs("waypoint", "waypoint", true);
    cluster.apply(vec![gateway(), managed("waypoint"), running]);
    cluster.removed.clear();
    cluster.written.clear();
    let version = |version: &str| json!({"gateway.istio.io/controller-version": version});
    cluster.apply(vec![annotated(version("6"))]);
    let removed: Vec<_> = cluster.removed.iter().map(|key| &key.kind).collect();
    assert!(
        removed.iter().all(|kind| **kind == Kind::Gateway),
        "{removed:?}"
    );
    assert!(cluster.written.is_empty(), "{:?}", cluster.written);
    cluster.apply(vec![annotated(version("5"))]);
    assert!(cluster.has(deployment::kind(), "waypoint"));
}
