//! What a controller says of objects that are written: GatewayClasses, and what its webhook refuses.

use crate::mesh::Bench;
use ambit_controller::app::App;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

const CLASSES: &str = "apis/gateway.networking.k8s.io/v1/gatewayclasses";

#[tokio::test]
async fn gateway_classes_of_ours_are_accepted_and_others_left_alone() {
    let bench = Bench::new().await;
    for (name, controller) in [
        ("istio", "ambit.io/gateway-controller"),
        ("other", "example.com/controller"),
    ] {
        let class = json!({"metadata": {"name": name, "generation": 1},
            "spec": {"controllerName": controller}});
        bench.api.put(CLASSES, class);
    }
    let _running = bench.controller("a").await;
    let condition = bench
        .until("an accepted class", |api| {
            let class = api.object(&format!("{CLASSES}/istio"))?;
            class["status"]["conditions"].as_array()?.first().cloned()
        })
        .await;
    assert_eq!(condition["type"], "Accepted");
    assert_eq!(condition["status"], "True");
    let other = bench.api.object(&format!("{CLASSES}/other")).unwrap();
    assert_eq!(other.get("status"), None);
}

/// Asks the webhook as the API server does: HTTP/1.1 over TLS, the roots from the registration.
async fn judged(bench: &Bench, app: &App, object: Value) -> Value {
    let addr = app.webhook_addr().unwrap();
    let mut config = kube::Config::new(format!("https://{addr}").parse().unwrap());
    let root = pem_of(&bench.root());
    config.root_cert = Some(vec![root]);
    let client = kube::Client::try_from(config).unwrap();
    let review = json!({
        "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview",
        "request": {"uid": "u-7", "operation": "CREATE", "name": "v", "object": object},
    });
    let request = http::Request::post("/validate").body(review.to_string().into_bytes());
    let answer: Value = client.request(request.unwrap()).await.unwrap();
    answer["response"].clone()
}

/// The certificate in a PEM text.
fn pem_of(text: &str) -> Vec<u8> {
    let lines = text.lines().skip(1);
    let base64: String = lines.take_while(|line| !line.starts_with('-')).collect();
    STANDARD.decode(base64).unwrap()
}

#[tokio::test]
async fn the_webhook_answers_who_speaks_http_1_1() {
    let bench = Bench::new().await;
    let (app, _trigger) = bench.controller("a").await;
    let rule = |host: &str| {
        json!({"apiVersion": "networking.istio.io/v1", "kind": "DestinationRule",
            "metadata": {"name": "v", "namespace": "shop"}, "spec": {"host": host}})
    };
    let good = judged(&bench, &app, rule("details")).await;
    assert_eq!(good["allowed"], true);
    assert_eq!(good["uid"], "u-7");
    let bad = judged(&bench, &app, rule("")).await;
    assert_eq!(bad["allowed"], false);
    assert_eq!(bad["status"]["message"], "spec.host: required [IST0106]");
}
