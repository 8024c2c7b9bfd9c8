use crate::bench::{Bench, MESH, file, names, until};
use ambit_api::type_urls::{ADDRESS, CLUSTER, ENDPOINTS, ROUTER};
use ambit_crds::{Kind, ObjectKey};
use ambit_source::Writer;
use serde_json::json;
use tonic::Code;

const GATEWAY: &str = "apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: waypoint, namespace: default}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
---
apiVersion: v1
kind: Namespace
metadata: {name: default, labels: {istio.io/use-waypoint: waypoint}}
";

#[tokio::test]
async fn a_waypoint_is_made_bound_and_programmed() {
    let mesh = MESH.split_once("---\n").unwrap().1;
    let bench = Bench::start(&[("mesh.yaml", mesh), ("gateway.yaml", GATEWAY)]).await;
    let status = bench.source().join(".status/controller");
    let pods = status.join("pods/default");
    let pod = until("a generated pod", || {
        let entry = std::fs::read_dir(&pods).ok()?.flatten().find(|e| {
            let name = e.file_name();
            let name = name.to_string_lossy();
            name.starts_with("waypoint-") && name.ends_with(".yaml")
        })?;
        Some(
            entry
                .file_name()
                .to_string_lossy()
                .trim_end_matches(".yaml")
                .to_owned(),
        )
    })
    .await;
    file(&status.join("services/default/waypoint.yaml"), "clusterIP").await;
    file(&status.join("gateways/default/waypoint.yaml"), "Pending").await;

    // The node runs it.
    let node = Writer::new(&bench.source(), "node-n1").unwrap();
    let key = ObjectKey::new(Kind::Pod, "default", &pod);
    let up = json!({"status": {"phase": "Running", "podIPs": [{"ip": "10.244.1.99"}],
                               "conditions": [{"type": "Ready", "status": "True"}]}});
    node.patch(&key, &up).unwrap();
    let text = file(&status.join("gateways/default/waypoint.yaml"), "Programmed").await;
    assert!(
        text.contains("istio") || text.contains("Accepted"),
        "{text}"
    );
    file(&status.join("gateways/default/waypoint.yaml"), "addresses").await;
    file(
        &status.join("services/default/web.yaml"),
        "WaypointAccepted",
    )
    .await;

    let token = bench.issuer.token("default/waypoint", "n1", 60);
    let mut ads = bench.stream(Some(&token)).await.unwrap();
    for (type_url, expected) in [
        (
            ROUTER,
            "default/waypoint/default/web.default.svc.cluster.local/80",
        ),
        (CLUSTER, "default/web.default.svc.cluster.local/80"),
        (ENDPOINTS, "default/web.default.svc.cluster.local/80"),
    ] {
        ads.subscribe(type_url).await;
        let response = ads.next().await.unwrap();
        assert_eq!(
            (&*response.type_url, names(&response)),
            (type_url, vec![expected])
        );
    }
    ads.subscribe(ADDRESS).await;
    let addresses = ads.next().await.unwrap();
    assert!(names(&addresses).contains(&format!("Kubernetes//Pod/default/{pod}").as_str()));

    // A route is a delta of routes alone.
    bench.put(
        "route.yaml",
        "{apiVersion: networking.istio.io/v1, kind: VirtualService, metadata: {name: web, namespace: default},
          spec: {hosts: [web], http: [{timeout: 3s, route: [{destination: {host: web}}]}]}}",
    );
    let delta = ads.next().await.unwrap();
    assert_eq!(delta.type_url, ROUTER);
    assert_eq!(delta.resources.len(), 1);
    file(&status.join("virtualservices/default/web.yaml"), "Bound").await;

    // Another gateway's account sees nothing; it does not exist.
    let other = bench.issuer.token("default/other", "n1", 60);
    let denied = bench.stream(Some(&other)).await.err().unwrap();
    assert_eq!(denied.code(), Code::PermissionDenied);

    // Gone with its Gateway.
    bench.put("gateway.yaml", GATEWAY.split_once("---\n").unwrap().1);
    until("the generated pod is withdrawn", || {
        (!pods.join(format!("{pod}.yaml")).exists()).then_some(())
    })
    .await;
    file(&status.join("services/default/web.yaml"), "WaypointIsGone").await;
}
