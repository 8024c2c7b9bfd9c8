//! Writing: requests as they go out, and answers that are no errors.

use crate::api::Api;
use ambit_crds::{Kind, ObjectKey};
use ambit_source::kubernetes::{Outcome, Writer};
use serde_json::json;

const ROUTES: &str = "apis/gateway.networking.k8s.io/v1/httproutes";

#[tokio::test]
async fn a_status_is_applied_by_its_manager_and_withdrawn_with_null() {
    let api = Api::new();
    api.put(
        "api/v1/services",
        json!({"metadata": {"name": "a", "namespace": "n"}}),
    );
    let writer = Writer::new(api.client(), "me");
    let key = ObjectKey::new(Kind::Service, "n", "a");
    let status = json!({"conditions": [{"type": "x"}]});
    assert_eq!(writer.status(&key, &status).await.unwrap(), Outcome::Done);
    writer.status(&key, &json!(null)).await.unwrap();
    let identity = json!({"name": "a", "namespace": "n"});
    let body =
        json!({"apiVersion": "v1", "kind": "Service", "metadata": identity, "status": status});
    let withdrawn = json!({"apiVersion": "v1", "kind": "Service", "metadata": identity});
    let path = "/api/v1/namespaces/n/services/a/status?&force=true&fieldManager=me";
    assert_eq!(
        api.requests("PATCH"),
        [(path.to_owned(), body), (path.to_owned(), withdrawn)]
    );
}

#[tokio::test]
async fn an_object_that_is_gone_is_no_error() {
    let api = Api::new();
    let writer = Writer::new(api.client(), "me");
    for kind in [Kind::Service, Kind::Gateway, Kind::HttpRoute] {
        let key = ObjectKey::new(kind, "n", "gone");
        assert_eq!(
            writer.status(&key, &json!({})).await.unwrap(),
            Outcome::Absent
        );
    }
    let annotations = [("a".to_owned(), None)].into();
    let pod = writer.annotate_pod(("n", "gone"), Some("u"), &annotations);
    assert_eq!(pod.await.unwrap(), Outcome::Absent);
}

#[tokio::test]
async fn entries_of_other_controllers_in_a_route_survive_ours_and_a_race() {
    let api = Api::new();
    api.install("gateway.networking.k8s.io/v1", "httproutes");
    let foreign = json!({"controllerName": "example.com/ingress"});
    api.put(
        ROUTES,
        json!({"metadata": {"name": "r", "namespace": "n"}, "status": {"parents": [foreign]}}),
    );
    api.conflict(2);
    let writer = Writer::new(api.client(), "me");
    let key = ObjectKey::new(Kind::HttpRoute, "n", "r");
    let ours = json!({"controllerName": "ambit.io/gateway-controller", "parentRef": {"name": "a"}});
    let status = json!({"parents": [ours]});
    assert_eq!(writer.status(&key, &status).await.unwrap(), Outcome::Done);
    let parents = |api: &Api| api.object(ROUTES, "n", "r")["status"]["parents"].clone();
    assert_eq!(parents(&api), json!([foreign, ours]));
    let patches = api.requests("PATCH");
    assert_eq!(patches.len(), 3);
    assert!(patches[0].1["metadata"]["resourceVersion"].is_string());
    writer.status(&key, &json!(null)).await.unwrap();
    assert_eq!(parents(&api), json!([foreign]));
    writer.status(&key, &json!(null)).await.unwrap();
    assert_eq!(
        api.requests("PATCH").len(),
        4,
        "nothing to change, nothing sent"
    );
}
