//! Gateways of several revisions: one deploys, all serve, nobody takes away what is another's.

use super::super::deployment;
use super::*;

fn tag(revision: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {"name": "istiod-revision-tag-prod", "namespace": "istio-system",
            "labels": {"istio.io/tag": "prod", "istio.io/rev": revision}},
        "spec": {"clusterIP": "10.96.0.9", "ports": [{"port": 15012}]},
    })
}

fn tagged() -> Value {
    let mut gateway = gateway();
    gateway["metadata"]["labels"] = json!({"istio.io/rev": "prod"});
    gateway
}

#[test]
fn a_gateway_is_run_by_its_revision_alone_and_moves_with_its_tag() {
    let mut both = [Cluster::of("default"), Cluster::of("canary")];
    for cluster in &mut both {
        cluster.apply(vec![tagged(), tag("default"), pod()]);
    }
    let gateway = ObjectKey::new(Kind::Gateway, "shop", "waypoint");
    let running = ObjectKey::new(deployment::kind(), "shop", "waypoint");
    let [default, canary] = &mut both;
    assert!(default.written.contains_key(&gateway) && default.written.contains_key(&running));
    assert!(canary.written.is_empty() && canary.removed.is_empty());

    for cluster in [&mut *default, &mut *canary] {
        cluster.written.clear();
        cluster.removed.clear();
        cluster.apply(vec![tag("canary")]);
    }
    assert!(default.written.is_empty(), "{:?}", default.written);
    assert!(default.removed.is_empty(), "{:?}", default.removed);
    assert!(canary.written.contains_key(&gateway) && canary.written.contains_key(&running));

    // Its own Gateway gone, both agree that what ran it goes.
    for cluster in [default, canary] {
        cluster.delete(gateway.clone());
        assert!(cluster.removed.contains(&running));
    }
}

#[test]
fn a_namespace_names_the_revision_of_its_gateways() {
    let namespace = json!({"apiVersion": "v1", "kind": "Namespace",
        "metadata": {"name": "shop", "labels": {"istio.io/rev": "canary"}}});
    let running = ObjectKey::new(deployment::kind(), "shop", "waypoint");
    for (revision, runs) in [("default", false), ("canary", true)] {
        let mut cluster = Cluster::of(revision);
        cluster.apply(vec![namespace.clone(), gateway()]);
        assert_eq!(cluster.written.contains_key(&running), runs, "{revision}");
    }
}
