use crate::bench::{Bench, MESH, file, names, until};
use ambit_api::type_urls::{ADDRESS, AUTHORIZATION, ROUTER};
use std::time::Duration;
use tonic::Code;

const ALL: [&str; 3] = [
    "Kubernetes//Pod/default/far-1",
    "Kubernetes//Pod/default/web-1",
    "default/web.default.svc.cluster.local",
];

#[tokio::test]
async fn callers_without_a_good_token_or_a_role_get_nothing() {
    let bench = Bench::start(&[("mesh.yaml", MESH)]).await;
    let code = |outcome: Result<_, tonic::Status>| match outcome {
        Ok::<crate::bench::Ads, _>(_) => Code::Ok,
        Err(status) => status.code(),
    };
    assert_eq!(code(bench.stream(None).await), Code::Unauthenticated);
    assert_eq!(code(bench.stream(Some("abc")).await), Code::Unauthenticated);
    let expired = bench.issuer.token("istio-system/ztunnel", "n1", -1);
    assert_eq!(
        code(bench.stream(Some(&expired)).await),
        Code::Unauthenticated
    );
    let stranger = bench.issuer.token("default/web", "n1", 60);
    assert_eq!(
        code(bench.stream(Some(&stranger)).await),
        Code::PermissionDenied
    );
    let mut node = bench.stream(Some(&bench.node_token())).await.unwrap();
    node.subscribe(ROUTER).await;
    assert!(node.ends().await, "routes are not for node proxies");
}

#[tokio::test]
async fn a_node_proxy_gets_everything_at_once_and_then_what_changes() {
    let bench = Bench::start(&[("mesh.yaml", MESH)]).await;
    let mut ads = bench.stream(Some(&bench.node_token())).await.unwrap();
    ads.subscribe(ADDRESS).await;
    let first = ads.next().await.unwrap();
    assert_eq!((&*first.type_url, names(&first)), (ADDRESS, ALL.to_vec()));
    ads.subscribe(AUTHORIZATION).await;
    let policies = ads.next().await.unwrap();
    assert_eq!(
        (&*policies.type_url, names(&policies)),
        (AUTHORIZATION, vec!["default/only-web"])
    );

    bench.put(
        "more.yaml",
        "{apiVersion: v1, kind: Service, metadata: {name: db, namespace: default}, spec: {clusterIP: 10.96.0.21, ports: [{port: 5432}]}}",
    );
    let delta = ads.next().await.unwrap();
    assert_eq!(names(&delta), ["default/db.default.svc.cluster.local"]);
    std::fs::remove_file(bench.source().join("more.yaml")).unwrap();
    let gone = ads.next().await.unwrap();
    assert_eq!(
        gone.removed_resources,
        ["default/db.default.svc.cluster.local"]
    );
    assert!(gone.resources.is_empty());
}

#[tokio::test]
async fn an_empty_directory_is_one_empty_answer() {
    let bench = Bench::start(&[]).await;
    let mut ads = bench.stream(Some(&bench.node_token())).await.unwrap();
    for type_url in [ADDRESS, AUTHORIZATION] {
        ads.subscribe(type_url).await;
        let first = ads.next().await.unwrap();
        assert_eq!((&*first.type_url, first.resources.len()), (type_url, 0));
    }
}

#[tokio::test]
async fn the_http_port_says_what_goes_on() {
    let bench = Bench::start(&[("mesh.yaml", MESH)]).await;
    let mut ads = bench.stream(Some(&bench.node_token())).await.unwrap();
    ads.subscribe(ADDRESS).await;
    ads.next().await.unwrap();
    assert!(bench.get("/ready").await.starts_with("HTTP/1.1 200"));
    assert!(bench.get("/version").await.contains("version"));
    let metrics = bench.get("/metrics").await;
    for line in [
        "pilot_xds_pushes_total{type=\"wds\"} 1",
        "pilot_xds 1",
        "istio_build{component=\"pilot\"",
        "pilot_k8s_cfg_events_total{type=\"Pod\",event=\"update\"} 2",
    ] {
        assert!(metrics.contains(line), "{line} in\n{metrics}");
    }
    let syncz = bench.get("/debug/syncz").await;
    assert!(
        syncz.contains("ztunnel-n1.istio-system") && syncz.contains("\"proxy_type\": \"ztunnel\""),
        "{syncz}"
    );
    let ambientz = bench.get("/debug/ambientz").await;
    assert!(
        ambientz.contains("spiffe://cluster.local/ns/default/sa/web")
            && !ambientz.contains("\"error\""),
        "{ambientz}"
    );
    let configz = bench.get("/debug/configz").await;
    assert!(
        configz.contains("AuthorizationPolicy default/only-web"),
        "{configz}"
    );
}

#[tokio::test]
async fn a_drain_ends_streams_and_then_the_controller() {
    let bench = Bench::start(&[("mesh.yaml", MESH)]).await;
    let mut ads = bench.stream(Some(&bench.node_token())).await.unwrap();
    ads.subscribe(ADDRESS).await;
    ads.next().await.unwrap();
    bench.trigger.start(Duration::from_secs(30));
    assert!(ads.ends().await);
    drop(ads);
    crate::bench::within(bench.app.finished()).await.unwrap();
}

#[tokio::test]
async fn a_policy_that_is_not_enforced_as_written_says_so_in_its_status() {
    let policy = "{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {name: l7, namespace: default}, spec: {rules: [{to: [{operation: {methods: [GET]}}]}]}}";
    let bench = Bench::start(&[("policy.yaml", policy)]).await;
    let path = bench
        .source()
        .join(".status/controller/authorizationpolicies/default/l7.yaml");
    let text = file(&path, "UnsupportedValue").await;
    assert!(
        text.contains("lastTransitionTime")
            && text.contains("spec.rules[0].to[0].operation.methods"),
        "{text}"
    );
    std::fs::remove_file(bench.source().join("policy.yaml")).unwrap();
    until("the status is withdrawn", || (!path.exists()).then_some(())).await;
}
